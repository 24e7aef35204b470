"""Whether real loaders of training frameworks load our exports: ``python -m interop``."""
