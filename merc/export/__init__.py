"""Export of the trained student as a self-contained folder: weights, ONNX files, encoders, model card."""
