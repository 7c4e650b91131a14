"""
CRAFT for Xplique, complete and faithful to the model.

In the order of use:

    split_model, candidate_layers     where a Keras model can be cut into g and h
    Craft                             finds the concepts of a class, and answers questions of them
    importance                        how much each concept matters: Sobol, Shapley, gradients...
    measure_prevalence, sanity_check  how often each matters most; what no concepts would reach
    output_fidelity, unite            how well they predict every output; those of several classes
    attributions                      where each concept is, and why this class
    choose_number_of_concepts         what each number of them reaches, and which is recommended
    explain_class, report             everything about a class, as one page
    explain_model, Atlas              every class of a model, in a folder that a call goes on from
    metrics                           how good concepts and importances are: purity, stability,
                                      deletion, insertion, extraction, complexity
    ground_truth                      images whose concepts are known, and what is found of them
    compare                           concept maps and heatmaps measured against each other
    from_craft_tf, from_holistic      concepts that Xplique's own classes have found, taken over
    plots                             figures of results
    factorization                     how activations become concepts
    load_model                        reads a saved encoder or decoder
    save, load                        a result in a file, and back; a Craft has its own

Importing the package is quick; TensorFlow is loaded with the first name that needs it. Which names
there are, and where each is defined, stands in `__init__.pyi`, which type checkers read too.
"""

import lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
