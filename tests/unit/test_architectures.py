"""Every row of the architecture table against transformers' own model, on random tiny configurations."""

from __future__ import annotations

from typing import Any

import hypothesis.strategies as st
import pytest
import torch
import transformers
from hypothesis import given, reject, settings
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoConfig, AutoModelForImageClassification, AutoModelForSequenceClassification
from transformers import PreTrainedModel as HuggingFaceModel

from sharcs_edge.config import SharcsConfig
from sharcs_edge.errors import InputError, UsageError, WidthError
from sharcs_edge.model.architectures import ARCHITECTURES
from sharcs_edge.model.conversion import from_hugging_face, load_pretrained, to_hugging_face
from sharcs_edge.model.encoder import SharcsForSequenceClassification
from sharcs_edge.model.macs import count_tail, tail_macs, trunk_macs
from sharcs_edge.model.submodels import Tail, Trunk

Batch = dict[str, torch.Tensor]
Fields = dict[str, Any]
EVERY = pytest.mark.parametrize("model_type", sorted(ARCHITECTURES))
TEXT = pytest.mark.parametrize("model_type", sorted(set(ARCHITECTURES) - {"vit"}))
few = settings(max_examples=6, deadline=None)
ROPE = {
    kind: {"rope_type": "default", "rope_theta": theta}
    for kind, theta in (("full_attention", 1000.0), ("sliding_attention", 20.0))
}

_SHARED: dict[str, Any] = {
    "num_hidden_layers": st.integers(1, 4),
    "hidden_act": st.sampled_from(["gelu", "relu"]),
    "layer_norm_eps": st.sampled_from([1e-12, 1e-3]),
}
_BERT = _SHARED | {"vocab_size": st.just(50), "max_position_embeddings": st.just(40)}
_SPECIFIC: dict[str, dict[str, Any]] = {
    "bert": _BERT | {"type_vocab_size": st.integers(1, 3)},
    "roberta": _BERT | {"type_vocab_size": st.just(1), "pad_token_id": st.integers(0, 2)},
    "electra": _BERT | {"embedding_size": st.sampled_from([8, 24])},
    "distilbert": {
        "vocab_size": st.just(50),
        "max_position_embeddings": st.just(40),
        "n_layers": st.integers(1, 4),
        "activation": st.sampled_from(["gelu", "relu"]),
    },
    "albert": _BERT
    | {
        "embedding_size": st.sampled_from([8, 24]),
        "num_hidden_layers": st.integers(2, 5),
        "num_hidden_groups": st.integers(1, 2),
        "hidden_act": st.sampled_from(["gelu_new", "gelu"]),
    },
    "mpnet": _BERT,
    "modernbert": {
        "vocab_size": st.just(50),
        "pad_token_id": st.just(1),
        "max_position_embeddings": st.just(200),
        "num_hidden_layers": st.integers(1, 4),
        "global_attn_every_n_layers": st.integers(1, 3),
        "local_attention": st.integers(2, 9),
        "rope_parameters": st.sampled_from([None, ROPE]),
        "hidden_activation": st.sampled_from(["gelu", "silu"]),
        "classifier_activation": st.sampled_from(["gelu", "relu"]),
        "classifier_pooling": st.sampled_from(["cls", "mean"]),
        "norm_eps": st.sampled_from([1e-5, 1e-2]),
        "norm_bias": st.booleans(),
        "attention_bias": st.booleans(),
        "mlp_bias": st.booleans(),
        "classifier_bias": st.booleans(),
    },
    "vit": _SHARED
    | {
        "image_size": st.sampled_from([12, [8, 12]]),
        "patch_size": st.sampled_from([4, [2, 4]]),
        "num_channels": st.integers(1, 3),
        "qkv_bias": st.booleans(),
    },
}
_SIZE_NAMES = {"distilbert": ("dim", "n_heads", "hidden_dim")}


@st.composite
def tiny_fields(draw: st.DrawFn, /, model_type: str) -> Fields:
    """A configuration with 2 to 6 heads of 4 or 6 dimensions, and whatever else the architecture lets vary."""
    heads, head_size = draw(st.integers(2, 6)), draw(st.sampled_from([4, 6]))
    hidden, count, inner = _SIZE_NAMES.get(model_type, ("hidden_size", "num_attention_heads", "intermediate_size"))
    sizes = {hidden: heads * head_size, count: heads, inner: draw(st.integers(1, 3)) * heads * head_size}
    drawn = {name: draw(strategy) for name, strategy in _SPECIFIC[model_type].items()}
    return sizes | drawn | {"num_labels": draw(st.integers(2, 4))}


@st.composite
def plans(draw: st.DrawFn, /, fields: Fields, **fixed: Any) -> SharcsConfig:
    """Two or three widths of different heads, and any trunk that leaves a tail."""
    heads = fields.get("num_attention_heads") or fields["n_heads"]
    layers = fields.get("num_hidden_layers") or fields["n_layers"]
    kept = sorted(draw(st.sets(st.integers(1, heads - 1), min_size=1, max_size=2)) | {heads})
    drawn: Fields = {
        "widths": tuple(count / heads for count in kept),
        "trunk_layers": draw(st.integers(0, layers - 1)),
        "width_dims": draw(st.sampled_from(["inner", "all"])),
        "narrow_head": draw(st.sampled_from(["shared", "own"])),
        "router_hidden_size": 16,
    }
    plan = SharcsConfig(**drawn | fixed)
    try:
        plan.slices(heads, heads, heads, layers)
    except WidthError:  # rising, two may round to the same
        reject()
    return plan


def random_source(model_type: str, fields: Fields, seed: int = 0) -> HuggingFaceModel:
    """Every weight is random, those of LayerNorms and biases too: ones and zeros hide mistakes."""
    torch.manual_seed(seed)
    config = AutoConfig.for_model(model_type, **fields)
    images = model_type == "vit"
    factory: Any = AutoModelForImageClassification if images else AutoModelForSequenceClassification
    model: HuggingFaceModel = factory.from_config(config)
    shake(model, 0.2)
    model.train(False)
    return model


def shake(model: torch.nn.Module, scale: float) -> None:
    """What training would change: also, LayerNorms of different widths come apart."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * scale)


def random_nested(model_type: str, fields: Fields, plan: SharcsConfig) -> Any:
    nested = from_hugging_face(random_source(model_type, fields), plan)
    shake(nested, 0.1)
    return nested.eval()


def random_batch(config: Any, rows: int = 4, tokens: int = 11, seed: int = 1) -> Batch:
    """Images, or right-padded rows, the first one full; with segments where the model has them."""
    generator = torch.Generator().manual_seed(seed)
    if config.reads_images:
        return {"pixel_values": torch.randn(rows, config.num_channels, *config.image_size, generator=generator)}
    lengths = torch.randint(1, tokens + 1, (rows,), generator=generator)
    lengths[0] = tokens
    mask = (torch.arange(tokens)[None, :] < lengths[:, None]).long()
    ids = torch.randint(3, 50, (rows, tokens), generator=generator)
    batch = {"input_ids": torch.where(mask == 1, ids, config.pad_token_id), "attention_mask": mask}
    if config.uses_token_types:
        types = torch.randint(0, config.token_types, (rows, tokens), generator=generator)
        batch["token_type_ids"] = types * mask
    return batch


def real_tokens(batch: Batch, hidden: torch.Tensor) -> torch.Tensor:
    return batch["attention_mask"].bool() if "attention_mask" in batch else torch.ones(hidden.shape[:2]).bool()


def close(actual: torch.Tensor, expected: torch.Tensor, atol: float = 1e-5) -> None:
    torch.testing.assert_close(actual, expected, atol=atol, rtol=0)


@torch.no_grad()
@EVERY
@few
@given(data=st.data())
def test_full_width_equals_transformers(model_type: str, data: st.DataObject) -> None:
    fields = data.draw(tiny_fields(model_type))
    plan = data.draw(plans(fields))
    source = random_source(model_type, fields)
    nested = from_hugging_face(source, plan).eval()
    batch = random_batch(nested.config)
    expected = source(**batch, output_hidden_states=True)
    actual = nested(**batch, width=(plan.widths[0], 1.0))
    close(actual.logits, expected.logits)
    # hidden_states of transformers: embeddings, then one per layer; ours: one per tail layer but the last.
    states = actual.tails[1].hidden_states
    assert len(states) == nested.config.num_layers - plan.trunk_layers - 1
    for ours, theirs in zip(states, expected.hidden_states[plan.trunk_layers + 1 :], strict=False):
        real = real_tokens(batch, ours)
        close(ours[real], theirs[real])


@torch.no_grad()
@EVERY
@few
@given(data=st.data())
def test_saves_back_to_transformers(model_type: str, data: st.DataObject) -> None:
    fields = data.draw(tiny_fields(model_type))
    nested = random_nested(model_type, fields, data.draw(plans(fields)))
    restored = to_hugging_face(nested)
    assert type(restored).__name__ == ARCHITECTURES[model_type].classifier
    batch = random_batch(nested.config)
    close(restored(**batch).logits, nested(**batch).logits)


@torch.no_grad()
@EVERY
def test_files_of_both_kinds_round_trip(model_type: str, tmp_path: Any) -> None:
    """transformers' folder -> ours -> our folder -> transformers' folder, with the same answers."""
    fields = fixed_fields(model_type)
    random_source(model_type, fields).save_pretrained(tmp_path / "source")
    nested = load_pretrained(tmp_path / "source", ["bad", "good", "mixed"], SharcsConfig((0.5, 1.0))).eval()
    nested.save_pretrained(tmp_path / "ours")
    restored = SharcsForSequenceClassification.from_pretrained(tmp_path / "ours").eval()
    changing = {"source_config", "_name_or_path"}
    before, after = (config.to_dict().items() for config in (nested.config, restored.config))
    assert {k: v for k, v in after if k not in changing} == {k: v for k, v in before if k not in changing}
    to_hugging_face(restored).save_pretrained(tmp_path / "theirs")
    factory = getattr(transformers, ARCHITECTURES[model_type].classifier)
    final = factory.from_pretrained(tmp_path / "theirs", attn_implementation="eager").eval()
    assert final.config.id2label == {0: "bad", 1: "good", 2: "mixed"}
    batch = random_batch(nested.config)
    for width in (0.5, 1.0):
        assert torch.equal(restored(**batch, width=width).logits, nested(**batch, width=width).logits)
    close(final(**batch).logits, nested(**batch).logits)


@torch.no_grad()
@EVERY
@few
@given(data=st.data())
def test_submodels_equal_the_model_at_every_width(model_type: str, data: st.DataObject) -> None:
    fields = data.draw(tiny_fields(model_type))
    changes: Fields = data.draw(
        st.sampled_from([{}, {"width_shape": "rising"}, {"token_keep": 0.6}, {"own_layers": 0.5}])
    )
    nested = random_nested(model_type, fields, data.draw(plans(fields, **changes)))
    batch = random_batch(nested.config)
    mask = batch.get("attention_mask")
    hidden, router_logits = Trunk(nested, nested.slices).eval()(*batch.values())
    for width in nested.slices:
        expected = nested(**batch, width=width.width)
        close(Tail(nested, width)(hidden, mask), expected.logits)
    close(router_logits, expected.router_logits)


@torch.no_grad()
@TEXT
@few
@given(data=st.data())
def test_padding_changes_neither_logits_nor_routes(model_type: str, data: st.DataObject) -> None:
    fields = data.draw(tiny_fields(model_type))
    changes: Fields = data.draw(st.sampled_from([{}, {"token_keep": 0.6}]))
    nested = random_nested(model_type, fields, data.draw(plans(fields, **changes)))
    batch, narrow = random_batch(nested.config), nested.slices[0].width
    together = nested(**batch, width=(narrow, 1.0))
    for row, length in enumerate(batch["attention_mask"].sum(dim=1).tolist()):
        alone = nested(**{name: part[row : row + 1, :length] for name, part in batch.items()}, width=(narrow, 1.0))
        close(alone.router_logits[0], together.router_logits[row])
        for one, of_many in zip(alone.tails, together.tails, strict=True):
            close(one.logits[0], of_many.logits[row])


@torch.no_grad()
@EVERY
@few
@given(data=st.data())
def test_macs_equal_torch_flops(model_type: str, data: st.DataObject) -> None:
    fields = data.draw(tiny_fields(model_type))
    nested = random_nested(model_type, fields, data.draw(plans(fields)))
    config = nested.config
    tokens = config.max_tokens if config.reads_images else data.draw(st.sampled_from([1, 7, 33]))
    batch = random_batch(config, rows=1, tokens=tokens)
    mask = batch.get("attention_mask")

    def counted(call: Any) -> int:
        # torch counts nothing inside its fused CPU attention
        with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
            call()
        return int(counter.get_total_flops()) // 2  # a multiply-accumulate is two operations

    assert trunk_macs(config).count(tokens) == counted(lambda: nested.trunk(*batch.values()))
    hidden, _ = nested.trunk(*batch.values())
    for width in nested.slices:
        macs = counted(lambda w=width: nested.tail(hidden, mask, w))
        assert tail_macs(config, width).count(tokens) == count_tail(config, width, tokens) == macs


@torch.no_grad()
@EVERY
def test_narrow_width_is_the_leading_block_alone(model_type: str) -> None:
    """Changing weights outside a width's block must not change its logits."""
    fields = fixed_fields(model_type)
    for width_dims in ("inner", "all"):
        plan = SharcsConfig((0.5, 1.0), trunk_layers=0, width_dims=width_dims, narrow_head="shared")
        nested = random_nested(model_type, fields, plan)
        batch, block = random_batch(nested.config), nested.slices[0].layers[0]
        heads = block.heads * nested.config.head_size
        before = nested(**batch, width=0.5).logits
        for layer in nested.layers:
            for linear in (layer.attention.query, layer.attention.key, layer.attention.value):
                linear.weight[heads:] = 7.0
                linear.weight[:, block.hidden :] = 7.0
            layer.attention.output.weight[:, heads:] = 7.0
            layer.attention.output.weight[block.hidden :] = 7.0
            for linear in (layer.up, layer.gate):
                if linear is not None:
                    linear.weight[block.intermediate :] = 7.0
                    linear.weight[:, block.hidden :] = 7.0
            layer.down.weight[:, block.intermediate :] = 7.0
        if nested.contexts.relative is not None:
            nested.contexts.relative.weight[:, block.heads :] = 7.0
        first = nested.head.classifier if nested.head.dense is None else nested.head.dense
        first.weight[:, block.hidden :] = 7.0
        assert torch.equal(nested(**batch, width=0.5).logits, before)
        assert not torch.equal(nested(**batch, width=1.0).logits, before)


@EVERY
@pytest.mark.parametrize("width_dims", ["inner", "all"])
def test_layers_of_a_widths_own_begin_as_the_leading_blocks_and_share_nothing(model_type: str, width_dims: str) -> None:
    source = random_source(model_type, fixed_fields(model_type))
    widths: Fields = {"widths": (0.25, 0.5, 1.0), "trunk_layers": 0, "width_dims": width_dims}
    shared, own = (from_hugging_face(source, SharcsConfig(own_layers=up_to, **widths)) for up_to in (0.0, 0.25))
    for part in ("router", "narrow_heads", "entries", "entry_norms"):  # not of the source, so random
        getattr(own, part).load_state_dict(getattr(shared, part).state_dict())
    shared.eval()
    own.eval()
    batch = random_batch(own.config)
    with torch.no_grad():
        for width in (0.25, 0.5, 1.0):
            close(own(**batch, width=width).logits, shared(**batch, width=width).logits)
    own(**batch, width=0.25).logits.sum().backward()
    assert all(parameter.grad is None for parameter in own.layers.parameters())
    own.zero_grad()
    own(**batch, width=(0.5, 1.0)).logits.sum().backward()
    assert all(parameter.grad is None for parameter in own.own_layers.parameters())


def fixed_fields(model_type: str) -> Fields:
    """One configuration that has all the architecture can have."""
    hidden, heads, inner = _SIZE_NAMES.get(model_type, ("hidden_size", "num_attention_heads", "intermediate_size"))
    sizes: Fields = {hidden: 24, heads: 4, inner: 48, "num_labels": 3}
    if model_type == "vit":
        return sizes | {"num_hidden_layers": 3, "image_size": [8, 12], "patch_size": 4}
    sizes |= {"vocab_size": 50, "max_position_embeddings": 200}
    specific: dict[str, Fields] = {
        "distilbert": {"n_layers": 3},
        "albert": {"num_hidden_layers": 3, "embedding_size": 8, "num_hidden_groups": 2},
        "electra": {"num_hidden_layers": 3, "embedding_size": 8},
        "roberta": {"num_hidden_layers": 3, "type_vocab_size": 1},
        "modernbert": {
            "num_hidden_layers": 3,
            "local_attention": 6,
            "pad_token_id": 1,
            "rope_parameters": ROPE,
            "norm_bias": True,
            "mlp_bias": True,
        },
    }
    return sizes | specific.get(model_type, {"num_hidden_layers": 3})


@torch.no_grad()
@TEXT
def test_long_rows_equal_transformers(model_type: str) -> None:
    """Past the last bucket of relative distances, far outside the attention windows, many turns of the angles."""
    source = random_source(model_type, fixed_fields(model_type))
    nested = from_hugging_face(source, SharcsConfig((0.5, 1.0))).eval()
    batch = random_batch(nested.config, rows=2, tokens=150)
    close(nested(**batch).logits, source(**batch).logits, atol=2e-5)


def test_layers_that_share_a_module_share_its_cut_out() -> None:
    fields = fixed_fields("albert") | {"num_hidden_groups": 1, "num_hidden_layers": 4}
    nested = random_nested("albert", fields, SharcsConfig((0.5, 1.0), trunk_layers=2))
    assert (len(nested.layers), nested.config.tied_layers, nested.config.tied_heads) == (1, True, False)
    tail = Tail(nested, nested.slices[0])
    assert len(tail.layers) == 2 and tail.layers[0] is tail.layers[1]
    mpnet = random_nested("mpnet", fixed_fields("mpnet"), SharcsConfig((0.5, 1.0)))
    assert (mpnet.config.tied_layers, mpnet.config.tied_heads) == (False, True)


def test_modernbert_configurations_of_older_releases_are_read() -> None:
    """Rotary bases and global layers had fields of their own; how to compile and to attend must not matter."""
    older = {
        "global_rope_theta": 1000.0,
        "local_rope_theta": 20.0,
        "global_attn_every_n_layers": 2,
        "reference_compile": True,
        "attn_implementation": "eager",
    }
    fields = {name: value for name, value in fixed_fields("modernbert").items() if name != "rope_parameters"} | older
    source = random_source("modernbert", fields)
    nested = from_hugging_face(source, SharcsConfig((0.5, 1.0))).eval()
    assert nested.attention_kinds == ((None, 1000.0), (3, 20.0), (None, 1000.0))
    batch = random_batch(nested.config)
    with torch.no_grad():
        close(to_hugging_face(nested)(**batch).logits, source(**batch).logits)


@pytest.mark.parametrize(
    ("model_type", "fields", "message"),
    [
        ("albert", {"inner_group_num": 2}, "albert with inner_group_num=2 is not supported; expected 1"),
        ("albert", {"num_hidden_groups": 4}, "albert with 4 groups of layers for 3 layers is not supported"),
        ("mpnet", {"relative_attention_num_buckets": 16}, "mpnet with relative_attention_num_buckets=16"),
        ("mpnet", {"pad_token_id": 0}, "mpnet with pad_token_id=0 is not supported; expected 1"),
        (
            "modernbert",
            {"rope_parameters": {**ROPE, "full_attention": {"rope_type": "linear", "rope_theta": 9.0, "factor": 2.0}}},
            "modernbert with rope_type='linear' for full_attention is not supported",
        ),
    ],
)
def test_variants_without_a_place_are_refused(model_type: str, fields: Fields, message: str) -> None:
    source = random_source(model_type, fixed_fields(model_type) | fields)
    with pytest.raises(UsageError, match=message):
        from_hugging_face(source, SharcsConfig((0.5, 1.0)))


def test_entry_norms_of_every_width_are_refused_where_layers_normalise_their_input() -> None:
    plan = SharcsConfig((0.5, 1.0), width_dims="all", entry_norm="every")
    with pytest.raises(UsageError, match='entry_norm "every" is for encoders with LayerNorms behind their layers; vit'):
        from_hugging_face(random_source("vit", fixed_fields("vit")), plan)


def test_a_weight_without_a_place_is_refused() -> None:
    source: Any = random_source("bert", fixed_fields("bert"))
    source.extra = torch.nn.Linear(2, 2)
    with pytest.raises(UsageError, match=r"BertForSequenceClassification has weights without a place .* extra\.bias"):
        from_hugging_face(source, SharcsConfig((0.5, 1.0)))


def test_text_and_images_are_told_apart() -> None:
    images = random_nested("vit", fixed_fields("vit"), SharcsConfig((0.5, 1.0)))
    text = random_nested("bert", fixed_fields("bert"), SharcsConfig((0.5, 1.0)))
    with pytest.raises(InputError, match="this vit encoder takes pixel_values; none were given"):
        images(**random_batch(text.config))
    with pytest.raises(InputError, match="this bert encoder takes input_ids; none were given"):
        text(**random_batch(images.config))
    with pytest.raises(InputError, match=r"images have 3x12x8 values .* the model takes 3x8x12; resize them"):
        images(pixel_values=torch.zeros(1, 3, 12, 8))
    assert (images.main_input_name, text.main_input_name) == ("pixel_values", "input_ids")
    assert (images.config.max_tokens, images.config.patches) == (7, (2, 3))
