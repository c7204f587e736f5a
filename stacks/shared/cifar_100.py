"""CIFAR-100's fine labels: the classes that an environment can choose from.

https://www.cs.toronto.edu/~kriz/cifar.html
"""

import difflib

# In the data set's order: a class's label there is its index
# fmt: off
CLASS_NAMES = (
    "apple", "aquarium_fish", "baby", "bear", "beaver", "bed", "bee", "beetle", "bicycle", "bottle", "bowl",
    "boy", "bridge", "bus", "butterfly", "camel", "can", "castle", "caterpillar", "cattle", "chair",
    "chimpanzee", "clock", "cloud", "cockroach", "couch", "crab", "crocodile", "cup", "dinosaur", "dolphin",
    "elephant", "flatfish", "forest", "fox", "girl", "hamster", "house", "kangaroo", "keyboard", "lamp",
    "lawn_mower", "leopard", "lion", "lizard", "lobster", "man", "maple_tree", "motorcycle", "mountain",
    "mouse", "mushroom", "oak_tree", "orange", "orchid", "otter", "palm_tree", "pear", "pickup_truck",
    "pine_tree", "plain", "plate", "poppy", "porcupine", "possum", "rabbit", "raccoon", "ray", "road",
    "rocket", "rose", "sea", "seal", "shark", "shrew", "skunk", "skyscraper", "snail", "snake", "spider",
    "squirrel", "streetcar", "sunflower", "sweet_pepper", "table", "tank", "telephone", "television", "tiger",
    "tractor", "train", "trout", "tulip", "turtle", "wardrobe", "whale", "willow_tree", "wolf", "woman",
    "worm",
)
# fmt: on


def check_class_name(name: str) -> str:
    """Return the name; raises ValueError with the most similar names if CIFAR-100 has no such class."""
    if name not in CLASS_NAMES:
        nearest = ", ".join(difflib.get_close_matches(name.lower(), CLASS_NAMES, cutoff=0))
        raise ValueError(f"CIFAR-100 has no such class; the nearest are {nearest}")
    return name
