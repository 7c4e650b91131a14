"""
A whole model explained, class by class, in a folder that a call goes on from and a browser opens.
"""
