"""Support module of a notebook series on MNIST and a modified LeNet-5.

data        the digits: loading, splits, resizing, normalisation
models      the network, and what each of its layers costs
evaluation  predictions, accuracy and its interval
training    seeds, device, recipes and the training loop
plots       the drawings that more than one chapter uses
lesson      what makes a notebook a lesson: checks, exercises, showing source

A room imports only rooms above it: evaluation uses data and models, training uses evaluation,
plots may use all four; lesson stands alone.
"""
