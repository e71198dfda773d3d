"""Quality against compute: methods, their training, their points and how they are drawn."""

from sharcs_edge.cli.libraries import quiet_libraries

quiet_libraries()  # before a module here imports them
