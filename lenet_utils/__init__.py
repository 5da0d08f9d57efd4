"""Support module of a notebook series on MNIST and a modified LeNet-5.

preparation the steps from a picture, as people have it, to a digit like MNIST's
data        the digits: loading, splits, preparing, resizing, normalisation
models      the network, and what each of its layers costs
evaluation  predictions, accuracy and its interval, calibration
training    recipes, the training loop, and what is kept of it in a file
plots       the drawings that more than one chapter uses
lesson      what makes a notebook a lesson: checks, exercises, showing source
files       writing files whole, and knowing beforehand that one can

A room imports only rooms above it: data uses preparation, evaluation uses data and models, training
uses these three and files, plots uses data and models; lesson and files stand alone.
"""

__version__ = "0.3.0"  # raise it when a chapter needs something new: setup cells ask for it
