package container

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// topology is how the processors of a machine belong together.
type topology struct {
	threads                           int // that are online
	physical, sockets, books, drawers int
	nodes                             []*numaNode
}

// numaNode is a NUMA node, or a socket where the kernel does not know of nodes.
type numaNode struct {
	id        int
	cores     []*core
	caches    []cache // shared by all of the node
	memory    float64
	hugepages []hugepages
	distances []float64
}

type core struct {
	id, socket int
	threads    []int
	caches     []cache
}

type cache struct {
	id, level, cpus int
	kind            string
	size            float64
}

type hugepages struct {
	kilobytes string
	count     float64
}

// numbered lists the entries of a directory that are a prefix and a number, in
// the order of their numbers. A directory that is not there has none.
func (r *reader) numbered(dir, prefix string) []int {
	var out []int
	r.fail(r.entries(dir, func(_ int, e entry) {
		if rest, ok := strings.CutPrefix(string(e.name), prefix); ok {
			if n, err := strconv.Atoi(rest); err == nil && n >= 0 {
				out = append(out, n)
			}
		}
	}))
	slices.Sort(out)
	return out
}

// count reads a file of one number; -1 where there is none.
func (r *reader) count(dir, name string) int {
	n, ok := parsed(r, dir, name, parseUint)
	if !ok || n > 1<<31 {
		return -1
	}
	return int(n)
}

// topology reads the processors and nodes below sysfs.
func (r *reader) topology(sysfs string) *topology {
	t := &topology{}
	cpus := filepath.Join(sysfs, "devices/system/cpu")
	cores := map[[2]int]*core{} // by socket and id
	sockets, books, drawers := map[int]bool{}, map[int]bool{}, map[int]bool{}
	byThread := map[int]*core{}
	for _, n := range r.numbered(cpus, "cpu") {
		dir := filepath.Join(cpus, "cpu"+strconv.Itoa(n))
		if online, ok := parsed(r, dir, "online", parseUint); ok && online == 0 {
			continue
		}
		t.threads++
		at := filepath.Join(dir, "topology")
		c := &core{id: r.count(at, "core_id"), socket: r.count(at, "physical_package_id")}
		if c.id < 0 || c.socket < 0 {
			continue
		}
		key := [2]int{c.socket, c.id}
		if cores[key] == nil {
			cores[key] = c
		}
		cores[key].threads = append(cores[key].threads, n)
		byThread[n] = cores[key]
		sockets[c.socket] = true
		for name, seen := range map[string]map[int]bool{"book_id": books, "drawer_id": drawers} {
			if id := r.count(at, name); id >= 0 {
				seen[id] = true
			}
		}
	}
	t.physical, t.sockets, t.books, t.drawers = len(cores), len(sockets), len(books), len(drawers)
	t.nodes = r.nodes(sysfs, byThread)
	for _, node := range t.nodes {
		r.caches(cpus, node)
	}
	return t
}

// nodes reads the NUMA nodes; without any each socket counts as one.
func (r *reader) nodes(sysfs string, byThread map[int]*core) []*numaNode {
	base := filepath.Join(sysfs, "devices/system/node")
	var out []*numaNode
	take := func(node *numaNode, thread int) {
		if c := byThread[thread]; c != nil && !slices.Contains(node.cores, c) {
			node.cores = append(node.cores, c)
		}
	}
	for _, id := range r.numbered(base, "node") {
		dir := filepath.Join(base, "node"+strconv.Itoa(id))
		node := &numaNode{id: id}
		for _, thread := range r.numbered(dir, "cpu") {
			take(node, thread)
		}
		node.memory, _ = parsed(r, dir, "meminfo", parseNodeMemory)
		node.distances, _ = parsed(r, dir, "distance", parseFloats)
		node.hugepages = r.hugepages(filepath.Join(dir, "hugepages"))
		out = append(out, node)
	}
	if len(out) > 0 {
		return out
	}
	sockets := map[int]*numaNode{}
	for thread, c := range byThread {
		if sockets[c.socket] == nil {
			sockets[c.socket] = &numaNode{id: c.socket}
			out = append(out, sockets[c.socket])
		}
		take(sockets[c.socket], thread)
	}
	slices.SortFunc(out, func(a, b *numaNode) int { return a.id - b.id })
	return out
}

// hugepages reads nr_hugepages of each size, named hugepages-<size>kB.
func (r *reader) hugepages(dir string) []hugepages {
	entries, err := os.ReadDir(dir)
	r.fail(err)
	var out []hugepages
	for _, e := range entries {
		size, _ := strings.CutPrefix(e.Name(), "hugepages-")
		size, ok := strings.CutSuffix(size, "kB")
		if n, read := parsed(r, filepath.Join(dir, e.Name()), "nr_hugepages", parseUint); ok && read {
			out = append(out, hugepages{kilobytes: size, count: float64(n)})
		}
	}
	return out
}

// caches reads the caches of a node's cores. Those of the first two levels
// belong to a core; a greater one to the node when all of it shares it.
func (r *reader) caches(cpus string, node *numaNode) {
	for _, c := range node.cores {
		dir := filepath.Join(cpus, "cpu"+strconv.Itoa(c.threads[0]), "cache")
		for _, n := range r.numbered(dir, "index") {
			one := r.cache(filepath.Join(dir, "index"+strconv.Itoa(n)))
			inNode := len(node.cores) * len(c.threads)
			switch {
			case one.level > 2 && one.cpus == inNode:
				if !slices.Contains(node.caches, one) {
					node.caches = append(node.caches, one)
				}
			case one.level > 2, one.level > 0 && one.cpus == len(c.threads):
				c.caches = append(c.caches, one)
			}
		}
	}
}

func (r *reader) cache(dir string) cache {
	one := cache{id: r.count(dir, "id"), level: r.count(dir, "level"), kind: r.word(dir, "type")}
	one.size, _ = parsed(r, dir, "size", parseCacheSize)
	one.cpus, _ = parsed(r, dir, "shared_cpu_map", parseCPUMap)
	return one
}

// facts says the topology.
func (t *topology) facts(m *machine) {
	addCache := func(node, core string, one cache) {
		m.add(machineCache, one.size, node, core, one.kind, strconv.Itoa(one.level))
	}
	for _, node := range t.nodes {
		id := strconv.Itoa(node.id)
		m.add(machineNodeMemory, node.memory, id)
		for _, h := range node.hugepages {
			m.add(machineNodeHugepages, h.count, id, h.kilobytes)
		}
		for target, d := range node.distances {
			m.add(machineDistance, d, id, strconv.Itoa(target))
		}
		for _, c := range node.cores {
			for _, thread := range c.threads {
				m.add(machineSiblings, float64(len(c.threads)), id, strconv.Itoa(c.id), strconv.Itoa(thread))
			}
			for _, one := range c.caches {
				addCache(id, strconv.Itoa(c.id), one)
			}
		}
		for _, one := range node.caches {
			addCache(id, "", one)
		}
	}
}

// dimms reads the memory modules that EDAC knows.
func (r *reader) dimms(sysfs string, m *machine) {
	base := filepath.Join(sysfs, "devices/system/edac/mc")
	count, size := map[string]float64{}, map[string]float64{}
	for _, controller := range r.numbered(base, "mc") {
		dir := filepath.Join(base, "mc"+strconv.Itoa(controller))
		for _, n := range r.numbered(dir, "dimm") {
			at := filepath.Join(dir, "dimm"+strconv.Itoa(n))
			kind := r.word(at, "dimm_mem_type")
			if megabytes, ok := parsed(r, at, "size", parseUint); ok && kind != "" {
				count[kind]++
				size[kind] += float64(megabytes) * (1 << 20)
			}
		}
	}
	for kind := range count {
		m.add(machineDIMMs, count[kind], kind)
		m.add(machineDIMMBytes, size[kind], kind)
	}
}
