"""A module of this name is not run anew in each process that `multiprocessing` forks."""

from stt_dagster.runtime.code_server import main

main()
