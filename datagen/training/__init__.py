"""Full fine-tuning on verified rows: presets, preflight, TRL's trainer behind one module, checks after saving."""
