"""The signatures of users' functions, on every version of Python."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from functools import partial

signature_of: Callable[..., inspect.Signature] = inspect.signature
"""As `inspect.signature`, also where an annotation names what there is for type checkers only.

From Python 3.14 on an annotation is evaluated when it is asked for, and there would be a NameError;
here, such a one is a `ForwardRef`. Before, the function could not even be defined.
"""

if sys.version_info >= (3, 14):
    from annotationlib import Format

    signature_of = partial(inspect.signature, annotation_format=Format.FORWARDREF)
