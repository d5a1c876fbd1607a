"""The record of one machine: every number that planning, emulation and reports use."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

#: Where each field's figures come from, for `ipuc targets`.
SOURCES: dict[str, str] = {
    "tiles": "GC2: TensorFlow port manual; GC200: Poplar tutorial 4; Bow: Bow-2000 datasheet",
    "worker_contexts": "all generations: six worker contexts and one supervisor",
    "tile_memory_bytes": "GC2: 256 KiB (PopLibs 2017); others: 624 KiB (Poplar's error text)",
    "clock_hz": "GC2: TensorFlow port manual; GC200: Poplar tutorial 6; Bow: Poplar report",
    "exchange_bytes_per_cycle": "4 B received and 4 B sent per tile and cycle (PopLibs 2017)",
    "tiles_per_exchange_bus": "pairs of neighbours share a bus (Poplar: tilesPerSharedExchangeBus)",
    "sync_cycles": "default within the published bound of 126 cycles for an on-chip barrier",
    "data_path_bits": "64-bit datapath of a worker (PopLibs)",
    "conv_units_float16": "AMP units, half in and half out (PopLibs)",
    "conv_units_float32": "AMP units, float in and float out (PopLibs; spec card: 62.5 TFLOP/s)",
    "conv_units_mixed": "AMP units, half in and float out; 8 also on GC200 (calibration rows)",
    "coefficient_load_bytes_per_cycle": "64-bit AMP weight loads (PopLibs default)",
    "memory_element_bytes": "one bank of tile memory (PopLibs)",
    "repeat_limit": "12-bit count of the repeat instruction",
    "interleaved_start_bytes": "8 or 13 memory elements lie before it (IPU model's fullest tiles)",
    "compute_set_cycles": "fitted on 84 Mk1 rows of Graphcore's IPU model, March 2021",
    "layout_change_cycles": "fitted on 84 Mk1 rows of Graphcore's IPU model, March 2021",
    "rearrange_percent_float16": "fitted on 84 Mk1 rows of Graphcore's IPU model, March 2021",
    "rearrange_percent_float32": "fitted on 84 Mk1 rows of Graphcore's IPU model, March 2021",
    "external_sync_cycles": "GC2: 500 (PopLibs 2017); others: 600 (Poplar: globalSyncCycles)",
    "pair_links": "IPU-Links between the two IPUs of a card (PopLibs' tests on several IPUs)",
    "ladder_links": "IPU-Links up, down and across, each (PopLibs' tests on several IPUs)",
    "link_bits_per_second": "128 * 2^30 each way (PopLibs' tests on several IPUs)",
    "link_percent": "share of that which payload gets (PopLibs' tests on several IPUs)",
}


@dataclass(frozen=True, slots=True)
class Target:
    """One machine: one IPU, or several that IPU-Links join. Sources stand in `SOURCES`.

    Counts are per IPU. Tiles of the whole machine are numbered IPU by IPU: tile t of IPU i is
    number i * tiles + t.

    Attributes:
        name: catalogue name, with overrides appended.
        tiles: tiles on one chip; `all_tiles` are those of the machine.
        worker_contexts: workers that share a tile's issue slots.
        tile_memory_bytes: SRAM of one tile.
        clock_hz: tile clock.
        exchange_bytes_per_cycle: bytes a tile receives (and sends) in a cycle.
        tiles_per_exchange_bus: neighbours that share a bus and may receive the same data.
        sync_cycles: one on-chip barrier.
        data_path_bits: width of a worker's vector load.
        conv_units_float16: AMP units for half in, half out.
        conv_units_float32: AMP units for float in, float out.
        conv_units_mixed: AMP units for half in, float out.
        coefficient_load_bytes_per_cycle: AMP weight load rate.
        memory_element_bytes: size of a memory bank.
        repeat_limit: most iterations of the zero-overhead loop.
        interleaved_start_bytes: where the memory begins that the matrix unit writes to.
        compute_set_cycles: entering one compute set of a convolution: sync, exchange set-up, call.
        layout_change_cycles: least cycles of one change of layout between two passes.
        rearrange_percent_float16: cycles of a rearranging copy of halves, in per cent of poplin's.
        rearrange_percent_float32: the same for float32.
        external_sync_cycles: a barrier of several IPUs.
        pair_links: IPU-Links to the other IPU of the pair.
        ladder_links: IPU-Links up to the next pair, down, and across the own one in passing: each.
        link_bits_per_second: what one link carries each way.
        link_percent: the part of that which is payload.
        ipus: IPUs of the machine.
    """

    name: str
    tiles: int
    worker_contexts: int
    tile_memory_bytes: int
    clock_hz: int
    exchange_bytes_per_cycle: int = 4
    tiles_per_exchange_bus: int = 2
    sync_cycles: int = 100
    data_path_bits: int = 64
    conv_units_float16: int = 16
    conv_units_float32: int = 16
    conv_units_mixed: int = 8
    coefficient_load_bytes_per_cycle: int = 8
    memory_element_bytes: int = 16384
    repeat_limit: int = 4095
    interleaved_start_bytes: int = 212_992
    compute_set_cycles: int = 190
    layout_change_cycles: int = 960
    rearrange_percent_float16: int = 183
    rearrange_percent_float32: int = 90
    external_sync_cycles: int = 600
    pair_links: int = 4
    ladder_links: int = 2
    link_bits_per_second: int = 128 << 30
    link_percent: int = 85
    ipus: int = 1

    @property
    def all_tiles(self) -> int:
        """Tiles of all IPUs together."""
        return self.tiles * self.ipus

    def vector_width(self, itemsize: int) -> int:
        """Elements in one 64-bit access: 2 for float32, 4 for float16."""
        return max(1, self.data_path_bits // (8 * itemsize))

    def fields(self) -> dict[str, int | str]:
        """Every number by name, for saving."""
        return dataclasses.asdict(self)

    def numbers(self) -> dict[str, int]:
        """Every number of one IPU and its links by name, for printing and changing."""
        made = dataclasses.asdict(self)
        return {name: made[name] for name in made if name not in ("name", "ipus")}
