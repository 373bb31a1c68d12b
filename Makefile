# `make` lists the targets. All logic is in bootstrap.py, which also works without make: python bootstrap.py demo
python := $(shell for p in python3.11 python3.12 python3.13 python3; do $$p -c "import sys; assert sys.version_info >= (3, 7)" 2>/dev/null && echo $$p && break; done)

.PHONY: help setup demo test check bench bench-peers docs weights clean
.NOTPARALLEL:

help setup demo test check bench bench-peers docs weights clean:
	@$(if $(python),$(python),$(error no Python 3 was found; on Debian and Ubuntu: sudo apt-get install python3.11 python3.11-venv)) bootstrap.py $@
