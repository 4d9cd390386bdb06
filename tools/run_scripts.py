"""Run the scripts behind `make weights` and `make results`: python -m tools.run_scripts weights|results [--force]

A script whose product is there and up to date is not run again; --force (make weights FORCE=1) runs it all the same.
A script that was interrupted goes on where it stopped.
"""

import argparse
import json
import subprocess
import sys
import time

from tools import chapters

RECIPES = {  # module: the weights it makes; in order, for a later recipe may use an earlier one's weights
    "tools.recipes.classifier_mnist": "classifier-mnist",
    "tools.recipes.classifier_glyphs": "classifier-glyphs",
    "tools.recipes.unet_mnist": "unet-mnist",
    "tools.recipes.vae_letter": "beta-vae-letter",
    "tools.recipes.vae_mnist": "cvae-mnist",
    "tools.recipes.vqvae_mnist": "code-prior-mnist",
    "tools.recipes.char_lm": "lstm-shakespeare",
    "tools.recipes.pixelcnn_mnist": "pixelcnn-mnist",
    "tools.recipes.wavenet_tones": "wavenet-tones",
    "tools.recipes.wavenet_digits": "wavenet-digits",
    "tools.recipes.gpt": "gpt-shakespeare",
    "tools.recipes.bert": "bert-spans",
    "tools.recipes.t5": "t5-text-to-text",
    "tools.recipes.vit": "masked-vit-mnist",
    "tools.recipes.gan_mnist": "biggan-mnist",
    "tools.recipes.cyclegan": "cyclegan-stripes",
    "tools.recipes.flows_glow": "glow-mnist",
    "tools.recipes.flows_matching": "diffusion-mnist",
    "tools.recipes.flows_points": "flow-moons",
}


def weights_there(name):
    """Whether the registry has the weights under this name, and their file is there."""
    registry = chapters.ROOT / "genai_utils" / "weights" / "registry.json"
    entry = json.loads(registry.read_text()).get(name) if registry.exists() else None
    return entry is not None and (registry.parent / entry["file"]).exists()


def plan(kind):
    """(command, what it makes, whether that is there) of every script, in order."""
    if kind == "weights":
        return [(command, name, weights_there(name)) for command, name in RECIPES.items()]
    scripts = sorted(path for path in (chapters.ROOT / "tools" / "results").glob("*.py") if path.stem != "__init__")
    return [(f"tools.results.{path.stem}", path.stem, False) for path in scripts]


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("kind", choices=["weights", "results"])
    parser.add_argument("--force", action="store_true", help="run scripts whose product is there, too")
    args = parser.parse_args(argv)
    for command, name, there in plan(args.kind):
        if there and not args.force:
            print(f"{name}: there already (make {args.kind} FORCE=1 makes it again)", flush=True)
            continue
        print(f"{name}: python -m {command}", flush=True)
        started = time.monotonic()
        if subprocess.run([sys.executable, "-m", *command.split()], cwd=chapters.ROOT).returncode:
            sys.exit(f"error: {name} failed (above). What it finished is kept; run `make {args.kind}` again to go on.")
        print(f"{name}: {time.monotonic() - started:.0f} s", flush=True)


if __name__ == "__main__":
    main()
