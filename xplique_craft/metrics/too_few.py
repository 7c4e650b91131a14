"""What measures of concepts say where a class has too few photographs for them."""


class TooFewPhotographs(ValueError):
    """A measure of concepts cannot be taken, for want of photographs; the message says of what."""
