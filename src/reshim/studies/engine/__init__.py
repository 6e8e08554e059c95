"""What recipes stand on: distributions by name, one budget, models and rows in common, claims and pages.

`study.py` is what a recipe is handed and `lab.py` what it speaks of; `run.py` carries one out.
"""
