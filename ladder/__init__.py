"""The ladder: what each stage of the recipe adds, measured arm by arm on the version `ladder`."""
