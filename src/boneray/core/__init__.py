"""Floor 0: the words of boneray as types. World coordinates are RAS+ millimetres everywhere."""
