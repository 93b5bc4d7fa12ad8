"""Export the parts of a run as ONNX files, compared with the original before they are written."""

from pinxit.onnx_export.api import export as export
