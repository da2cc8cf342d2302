"""Processor for tests: counts, fills, fails where it is told to; loaded as path.py:Class."""

import contextlib
import json
import os
import signal
import time
from pathlib import Path

import awkward as ak
import hist
import numpy as np
import uproot
from coffea.nanoevents import BaseSchema
from coffea.processor import ProcessorABC

GONE = "the disk went away"
BAD = "this event is bad"
MODEL = "0" * 64
WORK = {"calls": 2, "batches": 1, "rows": 48, "padded": 16, "samples": 96, "seconds": 0.5}


class Counting(ProcessorABC):
    """One weighted and one unweighted spectrum of GenPart; every event number is summed."""

    name = "counting"
    schema = BaseSchema

    def __init__(
        self,
        fail_at=None,
        action="raise",
        output=None,
        once=None,
        wait=0.0,
        victim=None,
        appetite=0,
    ):
        self.fail_at, self.action, self.output = fail_at, action, output
        self.once, self.wait, self.victim, self.appetite = once, wait, victim, appetite

    @classmethod
    def from_options(cls, options):
        config = dict(options["config"])
        if options["format"] != "none" and options["output"] is not None:
            config["output"] = str(options["output"])
        return cls(**config)

    def process(self, events):
        number = ak.to_numpy(events.event)
        time.sleep(self.wait)
        if np.isin(number, [] if self.fail_at is None else self.fail_at).any() and self.due(number):
            self.misbehave()
        pt = ak.to_numpy(ak.flatten(events.GenPart_pt))
        counts = hist.Hist.new.Reg(20, 0, 100, name="pt").Int64().fill(pt=pt)
        weighted = hist.Hist.new.Reg(20, 0, 100, name="pt").Weight()
        weighted.fill(pt=pt, weight=np.sqrt(pt) / 3)
        weights = ak.to_numpy(events.genWeight).astype(float)
        counters = {
            "events.read": len(events),
            "events.written": len(events),
            "event numbers": int(number.sum()),
            "sum_genweight.read": float(weights.sum()),
            "objects.GenPart.in": len(pt),
            "seconds.read": 0.25,
            "micro_batches.64": 1,
            f"models.{MODEL}.loads": 1,
            **{f"models.{MODEL}.draw.{key}": value for key, value in WORK.items()},
            f"copies.{os.getpid()}.{id(self)}": 1,
            f"threads.{os.environ.get('OMP_NUM_THREADS')}": 1,
        }
        result = {"hists": {"counts": counts, "weighted": weighted}, "counters": counters}
        return {events.metadata["dataset"]: {**result, "outputs": self.write(events.metadata)}}

    def write(self, chunk):
        if self.output is None:
            return []
        path = self.place(chunk)
        path.write_bytes(b"x")
        return [str(path)]

    def place(self, chunk):
        folder = Path(self.output) / "events" / chunk["dataset"]
        folder.mkdir(parents=True, exist_ok=True)
        span = f"{chunk['entrystart']}-{chunk['entrystop']}"
        return folder / f"{chunk['fileuuid']}_{span}.root"

    def due(self, number):
        """Whether to misbehave: always, or the first time that a chunk comes by."""
        if self.once is None:
            return True
        marker = Path(self.once) / str(number[0])
        seen = marker.exists()
        marker.touch()
        return not seen

    def misbehave(self):
        if self.action == "interrupt":
            raise KeyboardInterrupt
        if self.action == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.action == "sleep":
            time.sleep(600)
        while self.action == "persist":
            with contextlib.suppress(KeyboardInterrupt):
                time.sleep(600)
        if self.action == "eat":
            self.eaten = np.ones(self.appetite // 8)
            time.sleep(20)
        if self.action == "vanish":
            Path(self.victim).unlink()
            return
        try:
            raise OSError(GONE)
        except OSError as error:
            raise ValueError(BAD) from error

    def postprocess(self, accumulator):
        """Nothing to add."""


class Silent(Counting):
    """Counts, and writes nothing."""

    def write(self, chunk):
        return []


class Tabular(Counting):
    """Reads parquet files."""

    input_format = "parquet"


def kind(values):
    return values.dtype if isinstance(values, np.ndarray) else values.type.content


class Writing(Counting):
    """Writes every event, and beside the first of a file one row of Runs."""

    def process(self, events):
        self.events = events
        return super().process(events)

    def __getstate__(self):
        return {name: value for name, value in vars(self).items() if name != "events"}

    def write(self, chunk):
        if self.output is None:
            return []
        path = self.place(chunk)
        draft = path.with_suffix(".root.part")
        try:
            self.fill(draft, chunk)
            draft.rename(path)
        finally:
            draft.unlink(missing_ok=True)
        return [str(path)]

    def fill(self, path, chunk):
        events = self.events
        content = {name: ak.to_numpy(events[name]) for name in ("run", "event", "genWeight")}
        content["GenPart"] = ak.zip({"pt": events.GenPart_pt, "twice": 2 * events.GenPart_pt})
        content["Weights"] = ak.values_astype(events.GenPart_pt[:, : events.event[0] % 3], "f4")
        with uproot.recreate(path) as file:
            file.mktree("Events", {name: kind(values) for name, values in content.items()})
            file["Events"].extend(content)
            if chunk["entrystart"] == 0:
                file.mktree("Runs", {"sum": np.dtype("f8")}).extend({"sum": np.array([7.5])})
            file["flashbrew"] = json.dumps({"seed": 1, "source": chunk["entrystart"]})


class Comparing(Counting):
    """Looks at the merged result."""

    def finish(self, accumulator, output_dir):
        (name,) = accumulator
        total = float(accumulator[name]["hists"]["counts"].sum(flow=True))
        return {"distances": [{"object": "GenPart", "variable": "pt", "entries": total}]}


class Broken(Counting):
    """Fails when all chunks are done."""

    def finish(self, accumulator, output_dir):
        return 1 / 0


class Drawing(Counting):
    """Draws a picture, then does what it is told."""

    @classmethod
    def from_options(cls, options):
        action = options["config"].pop("after_drawing", None)
        made = super().from_options(options)
        made.after_drawing = action
        return made

    def finish(self, accumulator, output_dir):
        (output_dir / "plots").mkdir(exist_ok=True)
        (output_dir / "plots" / "theirs.png").touch()
        if self.after_drawing == "interrupt":
            raise KeyboardInterrupt
        return {"plots": ["plots/theirs.png"]}


class Bundled(Comparing):
    """Reads its bundles when it is built from options, and draws."""

    class Config:
        @staticmethod
        def from_mapping(values):
            return dict(values)

    def __init__(self, config=None, **others):
        super().__init__(**others)
        self.config = config

    @classmethod
    def from_options(cls, options):
        for path in options["bundles"]:
            Path(path).read_bytes()
        return cls({"colour": "red"}, output=str(options["output"]))

    def provenance(self):
        return {"configuration": self.config}

    def finish(self, accumulator, output_dir):
        (output_dir / "plots").mkdir(exist_ok=True)
        (output_dir / "plots" / "one.png").write_text(self.config["colour"])
        found = super().finish(accumulator, output_dir)
        found["distances"][0]["ks"] = float("nan")
        return found


class Elsewhere(Counting):
    """Has models that fit no device of this machine."""

    def provenance(self):
        raise ValueError("device 'cuda' is not available here")  # noqa: EM101


class Overwriting(Counting):
    """Gives every chunk the same output."""

    def write(self, chunk):
        path = Path(self.output) / "one.root"
        path.write_bytes(b"x")
        return [str(path)]


class Careless(Counting):
    """Returns something that executors do not understand."""

    def process(self, events):
        return {"n": len(events)}


class Growing(Counting):
    """Returns histograms whose axes differ from chunk to chunk."""

    def process(self, events):
        result = super().process(events)
        bins = 3 if self.fail_at in ak.to_numpy(events.event) else 4
        name = events.metadata["dataset"]
        result[name]["hists"] = {"odd": hist.Hist.new.Reg(bins, 0, 1, name="x").Int64()}
        return result

    def misbehave(self):
        """Go on."""


class Homesick(Counting):
    """Cannot be pickled."""

    def __reduce__(self):
        raise TypeError(BAD)


class Physicist(ProcessorABC):
    """A processor that relies on coffea's defaults."""

    def process(self, events):
        counters = {"events.read": len(events), "muons": int(ak.sum(events.Muon.pt > 3))}
        return {events.metadata["dataset"]: {"hists": {}, "counters": counters, "outputs": []}}

    def postprocess(self, accumulator):
        """Nothing to add."""


class NotAProcessor:
    """No ProcessorABC."""
