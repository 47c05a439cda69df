"""Words that titles of the synthetic world are made of; any likeness to a product is chance."""

ADJECTIVES = (
    *("Amber", "Ancient", "Ashen", "Azure", "Bitter", "Bold", "Borrowed", "Brass", "Bright"),
    *("Broken", "Burning", "Clockwork", "Cobalt", "Cold", "Copper", "Crooked", "Crystal", "Daring"),
    *("Distant", "Drifting", "Dusty", "Electric", "Emerald", "Endless", "Faded", "Feral", "Final"),
    *("Floating", "Forgotten", "Fragile", "Frozen", "Gentle", "Gilded", "Golden", "Hidden"),
    *(
        "Hollow",
        "Humble",
        "Hungry",
        "Idle",
        "Infinite",
        "Iron",
        "Jagged",
        "Jolly",
        "Last",
        "Little",
    ),
    *("Lonely", "Lost", "Lucky", "Midnight", "Mirrored", "Neon", "Northern", "Obsidian", "Painted"),
    *("Paper", "Patient", "Quiet", "Radiant", "Reckless", "Restless", "Rusty", "Sacred", "Savage"),
    *("Scarlet", "Secret", "Shattered", "Silent", "Silver", "Sleeping", "Solar", "Stormy"),
    *("Stubborn", "Sunken", "Tangled", "Thirteenth", "Tiny", "Twilight", "Twisted", "Uncharted"),
    *(
        "Velvet",
        "Violet",
        "Wandering",
        "Weary",
        "Western",
        "Whispering",
        "Wicked",
        "Wild",
        "Winter",
    ),
)

PLACES = (
    *("Alderwick", "Ashgrove", "Brackmoor", "Calder Deep", "Cindermouth", "Dunmarrow", "Eastfall"),
    *("Elderfen", "Farrow Hill", "Gallowmere", "Greyhaven Sound", "Hallowby", "Harrow Bay"),
    *("Ironvale", "Juniper Pass", "Kestrel Point", "Lanternwick", "Marrowdale", "Mistral Reach"),
    *("Nine Wells", "Oldmarsh", "Orrin's Rest", "Pellam", "Quillon", "Ravenholt Bay", "Saltmere"),
    *("Sorrow's End", "Thornfield Quay", "Umberlow", "Verdant Nine", "Wexcombe", "Zephyr Station"),
)

SEQUELS = ("", "", "", "", "", " 2", " II", " 3", ": Prologue", ": Remastered", " Deluxe", " Zero")

NOUNS = {
    "Action": ("Blade", "Fury", "Vendetta", "Outlaw", "Strike", "Rampage", "Hunter", "Breakout"),
    "Adventure": ("Voyage", "Expedition", "Compass", "Island", "Journey", "Passage", "Relic"),
    "Indie": ("Postcards", "Lighthouse", "Moth", "Lullaby", "Orchard", "Cassette", "Paperboat"),
    "RPG": ("Chronicle", "Oath", "Kingdoms", "Saga", "Grimoire", "Covenant", "Crown", "Legacy"),
    "Strategy": ("Empire", "Frontier", "Dominion", "Gambit", "Siege", "Conquest", "Banners"),
    "Simulation": ("Tycoon", "Workshop", "Harvest", "Airfield", "Railway", "Colony", "Bakery"),
    "Casual": ("Garden", "Picnic", "Cupcake", "Aquarium", "Kitten", "Bubbles", "Marbles"),
    "Puzzle": ("Cipher", "Lattice", "Riddle", "Prism", "Loop", "Tangram", "Paradox", "Mosaic"),
    "Platformer": ("Leap", "Bounce", "Springboots", "Rooftops", "Pixel", "Sprint", "Ledge"),
    "Shooter": ("Arsenal", "Crossfire", "Bullet", "Squadron", "Recoil", "Ricochet", "Firebase"),
    "Racing": ("Circuit", "Drift", "Throttle", "Rally", "Horsepower", "Slipstream", "Hairpin"),
    "Sports": ("League", "Champions", "Penalty", "Slalom", "Dunk", "Marathon", "Pitch"),
    "Horror": ("Asylum", "Whispers", "Séance", "Crypt", "Dread", "Cellar", "Nightmare", "Wake"),
    "Survival": ("Castaway", "Wasteland", "Campfire", "Blizzard", "Scavenger", "Last Shelter"),
    "Fighting": ("Brawl", "Knuckles", "Dojo", "Uppercut", "Arena", "Tournament", "Champion"),
    "Sandbox": ("Blocks", "Cloudworks", "Horizon", "Archipelago", "Foundry", "Playground"),
    "Roguelike": ("Dungeon", "Descent", "Permadeath", "Catacombs", "Abyss", "Labyrinth", "Depths"),
    "Stealth": ("Shadow", "Heist", "Infiltrator", "Footsteps", "Silhouette", "Contraband"),
    "Tower Defense": ("Bastion", "Ramparts", "Turret", "Palisade", "Last Wave", "Bulwark"),
    "Visual Novel": ("Letters", "Confession", "Summer", "Promise", "Diary", "Cherry Tree", "Rain"),
}
"""Nouns that suit a category; the keys are the synthetic world's categories, in order."""

KINDS = (
    *(("Action", "Indie"), ("Action", "Adventure"), ("Action", "Shooter"), ("Action", "RPG")),
    *(("Action", "Shooter", "Survival"), ("Action", "Fighting"), ("Action", "Stealth")),
    *(("Action", "Indie", "Platformer"), ("Action", "Indie", "Roguelike"), ("Action", "Horror")),
    *(("Adventure", "Indie"), ("Adventure", "Puzzle"), ("Adventure", "RPG")),
    *(("Adventure", "Horror", "Indie"), ("Adventure", "Visual Novel"), ("Adventure", "Stealth")),
    *(("RPG", "Strategy"), ("RPG", "Indie"), ("RPG", "Roguelike"), ("RPG", "Sandbox")),
    *(("Strategy",), ("Strategy", "Simulation"), ("Strategy", "Indie", "Tower Defense")),
    *(("Strategy", "Casual"), ("Simulation",), ("Simulation", "Sports"), ("Simulation", "Indie")),
    *(("Simulation", "Racing"), ("Simulation", "Sandbox"), ("Simulation", "Casual")),
    *(("Casual", "Indie"), ("Casual", "Puzzle"), ("Casual", "Indie", "Puzzle"), ("Racing",)),
    *(("Racing", "Sports"), ("Sports",), ("Indie", "Visual Novel"), ("Indie", "Platformer")),
    *(("Survival", "Sandbox", "Indie"), ("Horror", "Survival")),
)
"""Categories that go together, as catalogs of games have them."""
