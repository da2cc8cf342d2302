"""Kernels of triton: on a CUDA device where there is one, else interpreted on the processor.

The interpreter shows that a kernel computes the right thing, the compiler that it is code for a
device; neither shows that it runs there: for that the same tests want a device.
"""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from flows.architectures import ConditionalFlow
from flows.engine import Engine
from flows.engine.compile_nflows import compile_transform
from flows.engine.compile_plan import compile_plan
from flows.engine.compile_zuko import compile_zuko
from flows.engine.plan import Affine, Coupling, Dense, Plan, Residual
from flows.engine.testing import random_transform
from flows.engine.torch_flow import TorchFlow
from flows.noise import Identity, normals, normals_from_words, tensor_words, words
from flows.spec import FlowSpec, LayerSpec
from flows.spline import OWN_LIMITS, Limits, spline_forward, spline_inverse

pytest.importorskip("triton", reason="triton is not installed: pip install 'flashbrew[gpu]'")
gpu = pytest.importorskip("flows.gpu")
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
if not gpu.kernels_for(DEVICE):
    pytest.skip(
        "triton is too old, or was imported before TRITON_INTERPRET was set: run these tests alone",
        allow_module_level=True,
    )

from flows.engine.triton_flow import TritonFlow  # noqa: E402
from flows.engine.triton_spline import spline_constants, spline_of_columns  # noqa: E402
from flows.noise_triton import device_normals, device_words  # noqa: E402

ROWS = 70
"""One full tile of every kernel, one that is not."""
ROUNDING = 1e-10
"""Of float64: sums of 1e-15 in another order, through slopes of up to 1e3 per step."""
# Random123 1.14.0, examples/kat_vectors, "philox4x32 10"
KNOWN = [
    ((0,) * 4, (0,) * 2, (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


@pytest.mark.parametrize(("counter", "key", "expected"), KNOWN)
def test_words_are_the_published_answers(counter, key, expected):
    block, attempt = counter[3] & 0xFFFF, counter[3] >> 16
    arrays = torch.tensor([key]), torch.tensor([counter[:3]]), torch.tensor([attempt])
    drawn = device_words(*(a.to(DEVICE) for a in arrays), 4 * block + 4)
    assert tuple(drawn[0, -4:].tolist()) == expected


@pytest.mark.parametrize("dims", [1, 2, 7, 40])
def test_noise_is_that_of_every_other_backend(dims):
    draw = np.random.default_rng(dims)
    arrays = [draw.integers(0, 2**32, (77, n)) for n in (2, 3)]
    arrays.append(draw.integers(0, 2**16, 77))
    there = [torch.from_numpy(a).to(DEVICE) for a in arrays]
    compiled = words(arrays[0], arrays[1], dims, arrays[2])
    plain = tensor_words(*map(torch.from_numpy, arrays), dims + dims % 2)
    assert np.array_equal(device_words(*there, dims).cpu().numpy(), compiled)
    found = device_normals(*there, dims).cpu()
    # one unit in the last place of the largest, 6.66: backends may round the logarithm otherwise
    assert torch.allclose(found, normals_from_words(plain)[:, :dims], rtol=0, atol=1e-6)


def test_no_rows_give_no_noise():
    none = [torch.zeros(0, n, dtype=torch.int64, device=DEVICE) for n in (2, 3)]
    assert device_words(*none, none[0][:, 0], 5).shape == (0, 5)


LIMITS = {
    "own": OWN_LIMITS,
    "nflows": Limits(1e-3, 1e-3, 1e-3, np.inf),
    "zuko": Limits(0.0, 0.0, 1e-3, np.inf, soft=True),
}


@pytest.mark.parametrize(
    ("limits", "bins"), [("own", 10), ("nflows", 1), ("nflows", 128), ("zuko", 10)]
)
@pytest.mark.parametrize("inverse", [False, True])
def test_splines_are_those_of_plain_torch(limits, bins, inverse):
    moved, bound = torch.tensor([0, 2, 3]), 3.0
    step = Coupling(np.array([1]), moved.numpy(), None, bins, bound, LIMITS[limits])
    x = 3 * torch.randn(ROWS, 4, dtype=torch.float64)
    x[0], x[1], x[2] = bound, -bound, torch.nan
    raw = 2 * torch.randn(ROWS, 3, 3 * bins - 1, dtype=torch.float64)
    shape = bins, bound, LIMITS[limits]

    def run(dtype):
        state = x.to(DEVICE, dtype)
        constants = torch.tensor(spline_constants(step), dtype=dtype, device=DEVICE)
        slopes = spline_of_columns(
            state, raw.to(DEVICE, dtype), moved.to(DEVICE), constants, step, inverse=inverse
        )
        return state.double().cpu(), slopes.double().cpu()

    def plain(dtype):
        values, parameters = x[:, moved].to(dtype), raw.to(dtype)
        if inverse:
            return spline_inverse(values, parameters, *shape).double(), None
        return tuple(t.double() for t in spline_forward(values, parameters, *shape))

    exact, slopes = plain(torch.float64)
    state, found = run(torch.float64)
    kept = ~torch.isin(torch.arange(4), moved)
    assert torch.equal(state[:, kept].nan_to_num(), x[:, kept].nan_to_num())
    outside = ~((x[:, moved] >= -bound) & (x[:, moved] <= bound))
    assert torch.equal(state[:, moved][outside].nan_to_num(), x[:, moved][outside].nan_to_num())
    assert torch.allclose(state[:, moved], exact, rtol=ROUNDING, atol=ROUNDING, equal_nan=True)
    if not inverse:
        assert torch.allclose(found, slopes, rtol=ROUNDING, atol=ROUNDING, equal_nan=True)
    single = (run(torch.float32)[0][:, moved] - exact).abs().nan_to_num()
    rough = (plain(torch.float32)[0] - exact).abs().nan_to_num()
    # plain torch sums knots in double precision, the kernel in single: of many bins a few ulps
    assert single.max() <= 2 * rough.max() + bins * 2.0**-23
    assert single.median() <= 2 * rough.median() + 2.0**-24


def gated(plan: Plan) -> Plan:
    """Give every residual block a gate, as normflows has them."""
    rng = np.random.default_rng(0)
    for step in plan.steps:
        for block in getattr(getattr(step, "made", None), "blocks", ()):
            if isinstance(block, Residual):
                wide, given = len(block.scale), block.context.shape[1]
                gate = Dense(rng.normal(size=(wide, given)), rng.normal(size=wide))
                object.__setattr__(block, "gate", gate)
    return plan


def of_nflows(kind: str, features: int, context: int | None, **options) -> Plan:
    sizes = {"steps": 2, "hidden": 22, "blocks": 2, "bins": 6} | options
    transform = random_transform(kind, features, context, **sizes)
    return compile_transform(transform, features, context or 0)


def of_zuko(*, residual: bool = False, **options) -> Plan:
    zuko = pytest.importorskip("zuko")
    shape = {"features": 5, "context": 2, "transforms": 1, "hidden_features": [18, 33], "bins": 5}
    shape |= options
    flow = zuko.flows.NSF(**shape, residual=residual)
    return compile_zuko(flow.state_dict(), **shape)


def own() -> Plan:
    layers = (LayerSpec("affine", "same"), LayerSpec("spline", "reverse"))
    flow = ConditionalFlow(FlowSpec(features=4, context=3, hidden=18, bins=5, layers=layers))
    for parameter in flow.parameters():
        parameter.data.add_(0.1 * torch.randn_like(parameter))
    return compile_plan(flow)


PLANS = {
    "affine feed-forward": lambda: of_nflows("affine", 5, 3, residual=False, batch_norm=True),
    "affine residual": lambda: of_nflows("affine", 4, 3, batch_norm=True),
    "affine, more units than a product": lambda: of_nflows("affine", 2, 1, steps=1, hidden=70),
    "affine, one feature": lambda: of_nflows("affine", 1, 2, steps=1),
    "clamped": lambda: compile_transform(
        random_transform("affine", 4, 2, steps=1, hidden=20), 4, 2, "flashsim-clamped"
    ),
    "spline": lambda: of_nflows("spline", 4, 2, steps=1),
    "spline without context or blocks": lambda: of_nflows("spline", 3, None, blocks=0),
    "gated spline": lambda: gated(of_nflows("spline", 3, 2, steps=1)),
    "zuko": lambda: of_zuko(),
    "zuko coupling": lambda: of_zuko(passes=2),
    "zuko residual": lambda: of_zuko(residual=True, hidden_features=[18, 18]),
    "own": own,
    "coupling": lambda: of_nflows("coupling", 5, 3, batch_norm=True, bins=16),
    "coupling, wide context": lambda: of_nflows("coupling", 4, 19),
    "coupling without context": lambda: of_nflows("coupling", 4, None, hidden=70),
    "coupling without blocks": lambda: of_nflows("coupling", 4, 2, blocks=0),
}


@pytest.mark.parametrize("name", PLANS)
def test_flows_are_those_of_plain_torch(name):
    plan = PLANS[name]()
    exact = TorchFlow(plan, torch.float64)
    data = torch.randn(ROWS, plan.features, dtype=torch.float64)
    data[::10, -1] *= 5
    c = torch.randn(ROWS, plan.context, dtype=torch.float64)
    z, ladj = exact.forward(data, c)
    x = exact.inverse(z, c)

    def run(dtype):
        flow = TritonFlow(plan, dtype, DEVICE)
        given = c.to(DEVICE, dtype)
        there = flow.forward(x.to(DEVICE, dtype), given)
        tensors = (flow.inverse(z.to(DEVICE, dtype), given), *there)
        return [t.double().cpu() for t in tensors]

    for found, expected in zip(run(torch.float64), (x, z, ladj), strict=True):
        assert torch.allclose(found, expected, rtol=ROUNDING, atol=ROUNDING)
    plain = TorchFlow(plan, torch.float32)
    rough = (plain.inverse(z.float(), c.float()) - x).abs()
    single = (run(torch.float32)[0] - x).abs()
    # a few hundred numbers: their largest errors scatter, so more than the usual factor of two
    assert single.max() <= 4 * rough.max() + 1e-6
    assert single.median() <= 2 * rough.median() + 2.0**-24


def test_rows_do_not_feel_each_other():
    plan = PLANS["spline"]()
    flow = TritonFlow(plan, torch.float32, DEVICE)
    z = torch.randn(ROWS, 4, device=DEVICE)
    c = torch.randn(ROWS, 2, device=DEVICE)
    z[60], c[60] = z[1], c[1]
    whole = flow.inverse(z, c)
    assert torch.equal(whole[60], whole[1])
    c[7] = torch.nan
    broken = flow.inverse(z, c)
    others = torch.arange(ROWS, device=DEVICE) != 7
    assert broken[7].isnan().all()
    assert torch.equal(broken[others], whole[others])


@pytest.mark.parametrize("name", ["affine residual", "coupling"])
def test_no_rows_are_fine(name):
    plan = PLANS[name]()
    flow = TritonFlow(plan, torch.float32, DEVICE)
    z, c = torch.zeros(0, plan.features).to(DEVICE), torch.zeros(0, plan.context).to(DEVICE)
    assert flow.inverse(z, c).shape == flow.forward(z, c)[0].shape == (0, plan.features)


@pytest.mark.parametrize("name", ["affine residual", "coupling"])
def test_a_conditional_flow_wants_its_context(name):
    plan = PLANS[name]()
    flow = TritonFlow(plan, torch.float32, DEVICE)
    with pytest.raises(ValueError, match="conditional"):
        flow.inverse(torch.zeros(2, plan.features).to(DEVICE))


COMPILED = """
import sys, triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from flows import noise_triton
from flows.engine import triton_coupling, triton_masked, triton_spline

def check(kernel, pointers, constants):
    kinds = {n: pointers.get(n, "constexpr" if n in constants else "i32") for n in kernel.arg_names}
    source = ASTSource(fn=kernel, signature=kinds, constexprs=constants, attrs={})
    code = triton.compile(source, target=GPUTarget("cuda", int(sys.argv[1]), 32))
    print(kernel.__name__, len(code.asm["cubin"]) > 1000)

real = lambda *names: dict.fromkeys(names, "*fp32")
bins = {"BINS": 10, "PADDED": 16, "SOFT": False}
masked = real("z", "space", "weights", "constants") | dict.fromkeys(("layers", "ends"), "*i32")
sizes = {"FIELDS": 12, "SIZE": 64, "UNITS": 16, "KNOWN": 16}
for spline, precision in ((False, "ieee"), (True, "tf32")):
    check(triton_masked._invert, masked, bins | sizes | {"SPLINE": spline, "PRECISION": precision})
columns = real("state", "raw", "slopes", "constants") | {"moved": "*i64"}
check(triton_spline._columns, columns, bins | {"INVERSE": True, "STEP": 32, "SIZE": 64})
joined = real("stream", "added", "given", "gate", "bias", "scale", "shift", "active")
join = {"GATED": True, "ACTIVATES": True, "WIDE": 16, "ROWS": 32, "UNITS": 64}
check(triton_coupling._join, joined, join)
words = dict.fromkeys(("keys", "counters", "attempts"), "*i64") | {"out": "*fp32"}
check(noise_triton._draw, words, {"NORMAL": True, "SIZE": 256})
"""


def test_kernels_compile_for_a_device_that_is_not_there(tmp_path):
    """The compiler refuses what the interpreter lets pass; 90 is an H100."""
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    done = subprocess.run(
        [sys.executable, "-c", COMPILED, "90"],
        env=environment | {"TRITON_CACHE_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.split() == [
        *("_invert", "True") * 2,
        *("_columns", "True", "_join", "True", "_draw", "True"),
    ], done.stderr


@pytest.mark.cuda
@pytest.mark.skipif(DEVICE.type != "cuda", reason="no CUDA device")
@pytest.mark.parametrize("name", ["affine feed-forward", "spline", "zuko", "coupling"])
def test_an_engine_on_a_device_agrees_with_the_processor_and_never_waits(name):
    plan = PLANS[name]()
    engine = Engine(plan, 1)
    x, c = torch.randn(10_000, plan.features), torch.randn(10_000, plan.context)
    z, _ = engine.forward(x, c)
    exact = engine.inverse(z.double(), c.double())
    there = z.to(DEVICE), c.to(DEVICE)
    engine.inverse(*there)
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        found = engine.inverse(*there)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert torch.equal(found, engine.inverse(*there))
    single = (engine.inverse(z, c) - exact).abs().flatten().numpy()
    error = (found.cpu() - exact).abs().flatten().numpy()
    for quantile in (0.5, 0.999):
        assert np.quantile(error, quantile) <= 2 * np.quantile(single, quantile)
    assert engine.stats.ways == {"cpu": "compiled", str(there[0].device): "triton"}


@pytest.mark.cuda
@pytest.mark.skipif(DEVICE.type != "cuda", reason="no CUDA device")
def test_normals_of_a_device_are_those_of_the_processor():
    row = np.arange(5_000)
    zero = np.zeros_like(row)
    identity = Identity(1, "data", "Jet", zero, zero, row, zero, zero)
    here, there = (normals(identity, "flow", 17, device=d) for d in ("cpu", DEVICE))
    assert torch.allclose(here, there.cpu(), rtol=0, atol=1e-6)


def test_clamped_scales_are_in_the_plans():
    assert any(isinstance(s, Affine) and s.rule.most == 1 for s in PLANS["clamped"]().steps)
