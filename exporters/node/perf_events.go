package node

import (
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/strata-metrics/strata/internal/metric"
)

// perfKind is by what flag an event is chosen.
type perfKind int

const (
	perfHardware perfKind = iota
	perfSoftware
	perfCache
)

// perfEvent is something that the kernel counts for each processor.
type perfEvent struct {
	kind         perfKind
	name         string // as flags name it
	metric, help string // the metric without its prefix
	typ          uint32 // PERF_TYPE_*
	config       uint64 // number of the event within its type
	tracepoint   string // below the directory of events, empty for others
	family       *metric.Family
	err          error // why there is no such tracepoint
}

// perfNames are those that the flag of the kind may name.
func perfNames(kind perfKind) []string {
	var names []string
	for _, e := range perfEvents() {
		if e.kind == kind {
			names = append(names, e.name)
		}
	}
	return names
}

// perfEvents are all but tracepoints, see include/uapi/linux/perf_event.h of
// the kernel.
func perfEvents() []perfEvent {
	hardware := func(name, metric, help string, config uint64) perfEvent {
		return perfEvent{kind: perfHardware, name: name, metric: metric, help: help, typ: unix.PERF_TYPE_HARDWARE, config: config}
	}
	software := func(name, metric, help string, config uint64) perfEvent {
		return perfEvent{kind: perfSoftware, name: name, metric: metric, help: help, typ: unix.PERF_TYPE_SOFTWARE, config: config}
	}
	return append([]perfEvent{
		hardware("CpuCycles", "cpucycles_total", "Number of CPU cycles (frequency scaled)", unix.PERF_COUNT_HW_CPU_CYCLES),
		hardware("CpuInstr", "instructions_total", "Number of CPU instructions", unix.PERF_COUNT_HW_INSTRUCTIONS),
		hardware("CacheRef", "cache_refs_total", "Number of cache references (non frequency scaled)", unix.PERF_COUNT_HW_CACHE_REFERENCES),
		hardware("CacheMisses", "cache_misses_total", "Number of cache misses", unix.PERF_COUNT_HW_CACHE_MISSES),
		hardware("BranchInstr", "branch_instructions_total", "Number of CPU branch instructions", unix.PERF_COUNT_HW_BRANCH_INSTRUCTIONS),
		hardware("BranchMisses", "branch_misses_total", "Number of CPU branch misses", unix.PERF_COUNT_HW_BRANCH_MISSES),
		hardware("StalledCyclesBackend", "stalled_cycles_backend_total", "Number of stalled backend CPU cycles", unix.PERF_COUNT_HW_STALLED_CYCLES_BACKEND),
		hardware("StalledCyclesFrontend", "stalled_cycles_frontend_total", "Number of stalled frontend CPU cycles", unix.PERF_COUNT_HW_STALLED_CYCLES_FRONTEND),
		hardware("RefCpuCycles", "ref_cpucycles_total", "Number of CPU cycles", unix.PERF_COUNT_HW_REF_CPU_CYCLES),
		software("PageFault", "page_faults_total", "Number of page faults", unix.PERF_COUNT_SW_PAGE_FAULTS),
		software("ContextSwitch", "context_switches_total", "Number of context switches", unix.PERF_COUNT_SW_CONTEXT_SWITCHES),
		software("CpuMigration", "cpu_migrations_total", "Number of CPU process migrations", unix.PERF_COUNT_SW_CPU_MIGRATIONS),
		software("MinorFault", "minor_faults_total", "Number of minor page faults", unix.PERF_COUNT_SW_PAGE_FAULTS_MIN),
		software("MajorFault", "major_faults_total", "Number of major page faults", unix.PERF_COUNT_SW_PAGE_FAULTS_MAJ),
	}, perfCacheEvents()...)
}

// perfCacheEvents are those of the caches, whose number is made of the cache,
// what was done, and with what result.
func perfCacheEvents() []perfEvent {
	const (
		read, write = unix.PERF_COUNT_HW_CACHE_OP_READ, unix.PERF_COUNT_HW_CACHE_OP_WRITE
		hit, miss   = unix.PERF_COUNT_HW_CACHE_RESULT_ACCESS, unix.PERF_COUNT_HW_CACHE_RESULT_MISS
		l1d, l1i    = unix.PERF_COUNT_HW_CACHE_L1D, unix.PERF_COUNT_HW_CACHE_L1I
		last, bpu   = unix.PERF_COUNT_HW_CACHE_LL, unix.PERF_COUNT_HW_CACHE_BPU
		dtlb, itlb  = unix.PERF_COUNT_HW_CACHE_DTLB, unix.PERF_COUNT_HW_CACHE_ITLB
	)
	event := func(name, metric, help string, cache, operation, result uint64) perfEvent {
		return perfEvent{
			kind: perfCache, name: name, metric: "cache_" + metric, help: help,
			typ: unix.PERF_TYPE_HW_CACHE, config: cache | operation<<8 | result<<16,
		}
	}
	return []perfEvent{
		event("L1DataReadHit", "l1d_read_hits_total", "Number L1 data cache read hits", l1d, read, hit),
		event("L1DataReadMiss", "l1d_read_misses_total", "Number L1 data cache read misses", l1d, read, miss),
		event("L1DataWriteHit", "l1d_write_hits_total", "Number L1 data cache write hits", l1d, write, hit),
		event("L1InstrReadMiss", "l1_instr_read_misses_total", "Number instruction L1 instruction read misses", l1i, read, miss),
		event("InstrTLBReadHit", "tlb_instr_read_hits_total", "Number instruction TLB read hits", itlb, read, hit),
		event("InstrTLBReadMiss", "tlb_instr_read_misses_total", "Number instruction TLB read misses", itlb, read, miss),
		event("DataTLBReadHit", "tlb_data_read_hits_total", "Number of data TLB read hits", dtlb, read, hit),
		event("DataTLBReadMiss", "tlb_data_read_misses_total", "Number of data TLB read misses", dtlb, read, miss),
		event("DataTLBWriteHit", "tlb_data_write_hits_total", "Number of data TLB write hits", dtlb, write, hit),
		event("DataTLBWriteMiss", "tlb_data_write_misses_total", "Number of data TLB write misses", dtlb, write, miss),
		event("LLReadHit", "ll_read_hits_total", "Number last level read hits", last, read, hit),
		event("LLReadMiss", "ll_read_misses_total", "Number last level read misses", last, read, miss),
		event("LLWriteHit", "ll_write_hits_total", "Number last level write hits", last, write, hit),
		event("LLWriteMiss", "ll_write_misses_total", "Number last level write misses", last, write, miss),
		event("BPUReadHit", "bpu_read_hits_total", "Number BPU read hits", bpu, read, hit),
		event("BPUReadMiss", "bpu_read_misses_total", "Number BPU read misses", bpu, read, miss),
	}
}

// openPerf opens a counter for all processes on a processor, running. As
// node_exporter it takes the value as it is, also where the processor has fewer
// counters than events and counts each for part of the time.
func openPerf(kind uint32, config uint64, cpu int) (io.ReadCloser, error) {
	attr := unix.PerfEventAttr{Type: kind, Config: config, Bits: unix.PerfBitExcludeHv}
	attr.Size = uint32(unsafe.Sizeof(attr))
	fd, err := unix.PerfEventOpen(&attr, -1, cpu, -1, unix.PERF_FLAG_FD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("perf_event_open: %w", err)
	}
	return os.NewFile(uintptr(fd), "perf event"), nil // closed with its exporter, at the latest
}

// readPerf reads the value of a counter. One without, since its processor went
// offline, is io.ErrUnexpectedEOF or io.EOF.
func readPerf(counter io.Reader) (uint64, error) {
	var value [8]byte
	if _, err := io.ReadFull(counter, value[:]); err != nil {
		return 0, err
	}
	return binary.NativeEndian.Uint64(value[:]), nil
}
