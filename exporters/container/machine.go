package container

import (
	"context"
	"path/filepath"
	"strings"
	"time"

	"github.com/strata-metrics/strata/internal/metric"
)

// machineKind is a family about the machine. It counts the rows of machineTable.
type machineKind int

const (
	machineCores machineKind = iota
	machinePhysicalCores
	machineSockets
	machineBooks
	machineDrawers
	machineMemory
	machineSwap
	machineDIMMs
	machineDIMMBytes
	machineNVM
	machineNVMPower
	machineCache
	machineSiblings
	machineNodeMemory
	machineNodeHugepages
	machineDistance
)

func machineLabels() []string { return []string{"machine_id", "system_uuid", "boot_id"} }

// machineTable declares the machine's families in the order of their kinds.
func machineTable() []declared {
	row := func(g group, name, unit, help string, labels ...string) declared {
		return declared{name: "machine_" + name, help: help, typ: metric.Gauge, unit: unit, group: g, labels: labels}
	}
	return []declared{
		row(0, "cpu_cores", "", "Processors, each thread of a core counted."),
		row(0, "cpu_physical_cores", "", "Cores of all processors."),
		row(0, "cpu_sockets", "", "Sockets with a processor."),
		row(0, "cpu_books", "", "Books of processors (s390x), 0 elsewhere."),
		row(0, "cpu_drawers", "", "Drawers of processors (s390x), 0 elsewhere."),
		row(0, "memory_bytes", "bytes", "Memory of the machine."),
		row(0, "swap_bytes", "bytes", "Swap of the machine."),
		row(0, "dimm_count", "", "Memory modules of each type, as EDAC knows them.", "type"),
		row(0, "dimm_capacity_bytes", "bytes", "Their memory.", "type"),
		row(0, "nvm_capacity", "bytes", "Persistent memory modules: always 0, as in a cAdvisor built without ipmctl.", "mode"),
		row(0, "nvm_avg_power_budget_watts", "watts", "Their power: always 0, as in a cAdvisor built without ipmctl."),
		row(groupTopology, "cpu_cache_capacity_bytes", "bytes", "Caches of each core, and those that the cores of a node share.", "node_id", "core_id", "type", "level"),
		row(groupTopology, "thread_siblings_count", "", "Threads of the core to which a thread belongs.", "node_id", "core_id", "thread_id"),
		row(groupTopology, "node_memory_capacity_bytes", "bytes", "Memory of each NUMA node.", "node_id"),
		row(groupTopology, "node_hugepages_count", "", "Huge pages of each NUMA node.", "node_id", "page_size"),
		row(groupTopology, "node_distance", "", "Distance from a NUMA node to another.", "node_id", "target_node_id"),
	}
}

func machineError() declared {
	return declared{name: "machine_scrape_error", help: "1 if what the machine has could not all be read, 0 otherwise.", typ: metric.Gauge}
}

// machineFor is how long the facts of a machine are shown before they are read
// anew: memory and processors can be plugged in.
const machineFor = 5 * time.Minute

// machine is what was read of the machine. It is not changed once it is made.
type machine struct {
	taken  time.Time
	base   [3]string // by machineLabels
	facts  []fact
	failed bool
}

// fact is one sample about the machine.
type fact struct {
	kind   machineKind
	value  float64
	labels [maxLabels]string
}

// add notes a fact. Those about topology are read and kept also where they are
// not shown: it is once in a while.
func (m *machine) add(k machineKind, value float64, labels ...string) {
	f := fact{kind: k, value: value}
	copy(f.labels[:], labels)
	m.facts = append(m.facts, f)
}

// readMachine reads all that a machine is made of.
func (e *Exporter) readMachine() *machine {
	var r reader
	defer r.close()
	m := &machine{taken: e.o.Now()}
	m.base[0] = r.word(e.o.Rootfs, "etc/machine-id", "var/lib/dbus/machine-id")
	m.base[1] = r.word(e.o.Sysfs, "class/dmi/id/product_uuid", "devices/virtual/dmi/id/product_uuid")
	m.base[1] = firstOf(m.base[1], r.word(e.o.Procfs, "device-tree/system-id", "device-tree/vm,uuid"), m.base[0])
	m.base[2] = r.word(e.o.Procfs, "sys/kernel/random/boot_id")
	if info, ok := parsed(&r, e.o.Procfs, "meminfo", parseMeminfo); ok {
		m.add(machineMemory, float64(info.total))
		m.add(machineSwap, float64(info.swapTotal))
	}
	t := r.topology(e.o.Sysfs)
	m.add(machineCores, float64(t.threads))
	m.add(machinePhysicalCores, float64(t.physical))
	m.add(machineSockets, float64(t.sockets))
	m.add(machineBooks, float64(t.books))
	m.add(machineDrawers, float64(t.drawers))
	m.add(machineNVM, 0, "memory_mode")
	m.add(machineNVM, 0, "app_direct_mode")
	m.add(machineNVMPower, 0)
	r.dimms(e.o.Sysfs, m)
	t.facts(m)
	m.failed = r.failed > 0
	return m
}

// word gives the first of several files that is there and not empty.
func (r *reader) word(root string, names ...string) string {
	for _, name := range names {
		path := filepath.Join(root, name)
		data, err := r.file(filepath.Dir(path), filepath.Base(path))
		if err == nil {
			if s := strings.Trim(string(data), " \n\x00"); s != "" {
				return s
			}
			continue
		}
		r.fail(err)
	}
	return ""
}

// addMachine says what the machine has; timed with the time of the reading.
func (b *body) addMachine(to *metric.Batch, m *machine, timed bool) {
	to.Add(b.broken, number(m.failed))
	at := time.Time{}
	if timed {
		at = m.taken
	}
	values := make([]string, len(m.base)+maxLabels)
	copy(values, m.base[:])
	for i := range m.facts {
		f := &m.facts[i]
		row := &b.machine[f.kind]
		if row.family == nil {
			continue
		}
		copy(values[len(m.base):], f.labels[:])
		to.AddAt(row.family, f.value, at, values[:len(m.base)+len(row.labels)]...)
	}
}

// machine gives what the machine has, read anew once in a while.
func (e *Exporter) machine(ctx context.Context) (*machine, error) {
	if err := e.lock(ctx); err != nil {
		return nil, err
	}
	defer e.unlock()
	if age := e.o.Now().Sub(e.hardware.takenAt()); e.hardware == nil || age < 0 || age >= machineFor {
		e.hardware = e.readMachine()
	}
	return e.hardware, nil
}

func (m *machine) takenAt() time.Time {
	if m == nil {
		return time.Time{}
	}
	return m.taken
}
