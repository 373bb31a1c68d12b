"""What boneray knows of each anatomy: bones, working grid, views, landmark names. One file each."""
