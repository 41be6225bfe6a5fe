"""Music as it is written down: tunes, keys, ABC, MIDI, MusicXML, scores and sound. No model is known here."""
