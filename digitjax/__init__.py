"""digitjax reads handwritten digits with JAX and Flax.

    from digitjax.predict import predict_digit
    predict_digit("photo.jpg").digit

Importing the package alone loads nothing heavy; each module says at its top what it is for.
"""

__version__ = "0.1.0"
