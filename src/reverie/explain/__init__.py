"""Looking inside: exhibits computed from a real run of a loaded model. They are data; drawing is for others.

model = engine.load()
explain.exhibits(model)                                        # the names
explain.exhibit("attention", model, "The parrot was hungry", layer=3, head=5).data
"""

from reverie.explain.capture import Tape, capture
from reverie.explain.exhibit import Exhibit, Maker, about, exhibit, exhibits

__all__ = ["Exhibit", "Maker", "Tape", "about", "capture", "exhibit", "exhibits"]
