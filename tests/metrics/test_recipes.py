import json

import pytest
import torch

from genai_utils.diffusion import UNet, UNetConfig
from genai_utils.metrics import Estimate
from tools.recipes import score


@pytest.fixture(scope="module")
def unet():
    torch.manual_seed(0)
    return UNet(UNetConfig(n_classes=11, widths=(8, 8), attention=(False, False), blocks=1, head_dim=8)).eval()


@pytest.mark.parametrize("sampler", ["ddim", "dpmpp"])
def test_scored_samples_do_not_depend_on_the_batch(unet, sampler):
    whole, labels = score.sample(unet, 12, 2, sampler=sampler)
    parts, _ = score.sample(unet, 12, 2, sampler=sampler, batch=5)
    torch.testing.assert_close(whole, parts, atol=1e-4, rtol=0)
    assert whole.shape == (12, 1, 28, 28) and whole.abs().max() <= 1
    assert labels.tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]


@pytest.mark.parametrize("sampler", ["ddim", "ddpm", "dpmpp"])
def test_scored_samples_repeat_with_the_seed_and_differ_with_another(unet, sampler):
    first, same, other = (score.sample(unet, 3, 2, sampler=sampler, seed=s)[0] for s in (0, 0, 1))
    torch.testing.assert_close(first, same, rtol=0, atol=0)
    assert not torch.equal(first, other)


def test_scored_samples_of_an_unconditional_model_have_no_labels():
    torch.manual_seed(0)
    model = UNet(UNetConfig(widths=(8, 8), attention=(False, False), blocks=1, head_dim=8)).eval()
    x, labels = score.sample(model, 2, 2)
    assert x.shape == (2, 1, 28, 28) and labels is None


def test_score_as_json_keeps_value_interval_and_sample_size():
    scores = {"confident": Estimate(value=0.9311111, low=0.91, high=0.95, n=1000)}
    assert score.as_json(scores) == {
        "confident": {"value": 0.93111, "low": 0.91, "high": 0.95, "n": 1000, "level": 0.95}
    }


def test_write_score_changes_one_score_and_nothing_else(tmp_path):
    entries = {"a-net": {"sha256": "12", "score": {}}, "b-net": {"sha256": "34", "score": {"n": 3}}}
    (tmp_path / "registry.json").write_text(json.dumps(entries))
    score.write_score("a-net", {"n": 7}, tmp_path)
    entries["a-net"]["score"] = {"n": 7}
    assert json.loads((tmp_path / "registry.json").read_text()) == entries
    assert [p.name for p in tmp_path.iterdir()] == ["registry.json"]


def test_write_score_refuses_a_name_that_is_not_registered(tmp_path):
    with pytest.raises(ValueError, match="no weights 'c-net'"):
        score.write_score("c-net", {}, tmp_path)


def test_score_refuses_no_samples(unet):
    with pytest.raises(ValueError, match="n must be at least 1, got 0"):
        score.sample(unet, 0, 2)
