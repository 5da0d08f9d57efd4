"""Support module of a notebook series on MNIST and a modified LeNet-5.

preparation the steps from a picture, as people have it, to a digit like MNIST's
data        the digits: loading, splits, preparing, resizing, normalisation
alterations digits as people have theirs, to measure what preparing mends
distortions digits as other hands might have written them, to train on
models      the network, and what each of its layers costs
evaluation  predictions, accuracy and its interval, calibration
training    recipes, the training loop, and what is kept of it in a file
plots       the drawings that more than one chapter uses
lesson      what makes a notebook a lesson: checks, exercises, showing source
files       writing files whole, and knowing beforehand that one can
pad         a pad to draw digits on, in a notebook

A room imports only rooms above it, and files: data uses preparation, distortions uses data,
evaluation uses data and models, training all of these, plots data and models, and pad data,
evaluation and training; preparation, alterations, models, lesson and files stand alone.
"""

__version__ = "0.4.0"  # raise it when a chapter needs something new: setup cells ask for it
