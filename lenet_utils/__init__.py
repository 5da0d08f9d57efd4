"""Support module of a notebook series on MNIST and a modified LeNet-5.

preparation the steps from a picture, as people have it, to a digit like MNIST's
data        the digits: loading, splits, preparing, resizing, normalisation
alterations digits as people have theirs, to measure what preparing mends
distortions digits as other hands might have written them, to train on
models      the network, the original of 1998, and what each of their layers costs
evaluation  predictions, accuracy and its interval, calibration
training    recipes, the training loop, and what is kept of it in a file
speed       what makes training faster: fewer operations, better steps, fewer images
procedure_1998 how the original was taught, image by image
plots       the drawings that more than one chapter uses
lesson      what makes a notebook a lesson: checks, exercises, showing source
files       writing files whole, and knowing beforehand that one can
pad         a pad to draw digits on, in a notebook
page        a web page of one file that reads a drawn digit

A room imports only rooms above it, and files: data uses preparation, distortions and models use
data, evaluation data and models, training all of these, speed and procedure_1998 data, models and
training, plots data and models, pad data, evaluation and training, and page data, models and
training; preparation, alterations, lesson and files stand alone.
"""

__version__ = "0.8.0"  # raise it when a chapter needs something new: setup cells ask for it
