import pytest
import torch

from genai_utils.metrics.classifier import Classifier, ClassifierConfig, classifier_loss, jitter, run_in_batches


def make(**kw):
    torch.manual_seed(0)
    return Classifier(ClassifierConfig(**kw))


def test_classifier_shapes_are_as_documented():
    model, x = make().eval(), torch.rand(3, 1, 28, 28) * 2 - 1
    assert model.features(x).shape == (3, 64) and model(x).shape == (3, 10)
    torch.testing.assert_close(model.head(model.features(x)), model(x))


def test_classifier_weights_fit_in_half_a_megabyte_at_fp16():
    assert 2 * sum(p.numel() for p in make().state_dict().values()) <= 0.5e6


def test_classifier_gradient_reaches_every_parameter():
    model = make(width=8)
    loss, _ = classifier_loss(model, (torch.randn(8, 1, 28, 28), torch.arange(8)))
    loss.backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


def test_classifier_learns_one_batch():
    model, batch = make(width=8), (torch.randn(16, 1, 28, 28), torch.arange(16) % 10)
    opt = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(40):
        loss, logs = classifier_loss(model, batch)
        loss.backward()
        opt.step()
        opt.zero_grad()
    assert loss < 0.1 and logs["accuracy"] == 1


def test_classifier_loss_equals_the_naive_sum():
    model, x, labels = make(width=8).eval(), torch.randn(4, 1, 28, 28), torch.tensor([1, 0, 9, 3])
    p = model(x).softmax(1)
    loss, logs = classifier_loss(model, (x, labels))
    torch.testing.assert_close(loss, -sum(p[i, c].log() for i, c in enumerate(labels)) / 4)
    assert logs["accuracy"] == sum(p[i].argmax() == c for i, c in enumerate(labels)) / 4


def test_jitter_of_nothing_is_the_identity_and_of_something_moves_the_ink():
    x = torch.rand(4, 1, 28, 28)
    torch.testing.assert_close(jitter(x, degrees=0, zoom=0, shift=0), x, atol=1e-5, rtol=0)
    assert (jitter(x) - x).abs().mean() > 0.05


def test_jitter_keeps_a_blank_ground_blank_and_repeats_with_its_generator():
    ground = torch.full((2, 1, 28, 28), -1.0)
    torch.testing.assert_close(jitter(ground), ground)
    x = torch.rand(4, 1, 28, 28)
    a, b = (jitter(x, generator=torch.Generator().manual_seed(0)) for _ in range(2))
    torch.testing.assert_close(a, b, rtol=0, atol=0)


def test_jitter_moves_a_dot_by_at_most_its_shift():
    x = torch.full((200, 1, 28, 28), -1.0)
    x[:, :, 14, 14] = 1.0
    out = jitter(x, degrees=0, zoom=0, shift=2.0, generator=torch.Generator().manual_seed(0)) + 1
    row = (out.sum((1, 3)) * torch.arange(28)).sum(1) / out.sum((1, 2, 3))
    assert (row - 14).abs().max() <= 2 + 1e-4 and (row - 14).abs().max() > 1.5


@pytest.mark.parametrize("margins", [(0, 0, 6, 6), (6, 6, 0, 0)])
def test_jitter_turns_a_wide_or_high_picture_as_it_turns_its_square(margins):
    left, right, top, bottom = margins
    ink = torch.nn.functional.pad(torch.rand(5, 1, 24 - 2 * top - 2, 24 - 2 * left - 2), (1, 1, 1, 1))  # a blank edge
    square = torch.nn.functional.pad(ink, margins)
    turned, wanted = (jitter(x, degrees=40.0, generator=torch.Generator().manual_seed(0)) for x in (ink, square))
    torch.testing.assert_close(turned, wanted[:, :, top : 24 - bottom, left : 24 - right], atol=1e-4, rtol=0)


def test_run_in_batches_equals_one_pass():
    model, x = make(width=8).eval(), torch.randn(7, 1, 28, 28)
    with torch.no_grad():
        torch.testing.assert_close(run_in_batches(model, x, 3), model(x))
    with pytest.raises(ValueError, match="empty"):
        run_in_batches(model, x[:0])


@pytest.mark.parametrize("x", [torch.zeros(2, 3, 28, 28), torch.zeros(2, 28, 28), torch.zeros(2, 1, 28, 28).byte()])
def test_classifier_refuses_other_images(x):
    with pytest.raises(ValueError, match="x must be"):
        make()(x)


def test_classifier_config_refuses_a_side_it_cannot_halve_twice():
    with pytest.raises(ValueError, match="got 30"):
        make(side=30)
