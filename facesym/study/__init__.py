"""`facesym study`: established measures of facial asymmetry over a folder of photos, as tables and a report."""
