"""Where packages lie: a folder, or a bucket of a cloud, behind one small interface."""
