package resource

import (
	"cmp"
	"hash/maphash"
	"iter"
	"slices"
	"unique"
)

// podIndex says which nodes name a pod, so that a reader of some pods looks at
// their nodes and not at all nodes. It is part of a Snapshot and never changed:
// one after pods came or went shares all shards but theirs, and after a reading
// of the same pods, as nearly all are, it is the same.
type podIndex struct {
	seed   maphash.Seed
	shards [indexShards][]podPlace // each sorted by hash
}

// indexShards keeps a shard of 150,000 pods at 150 places: that is what is
// copied for a pod that comes or goes, beside the list of shards.
const indexShards = 1024

// podPlace is a pod, by the hash of its name, and a node that names it. Two pods
// of one hash cost a look at a node for nothing.
type podPlace struct {
	hash uint64
	node unique.Handle[string] // half of a string, and keeps no state of a node
}

// findHash is where the places of a hash begin, or would.
func findHash(shard []podPlace, hash uint64) int {
	i, _ := slices.BinarySearchFunc(shard, hash, func(p podPlace, hash uint64) int { return cmp.Compare(p.hash, hash) })
	return i
}

func newPodIndex() *podIndex { return &podIndex{seed: maphash.MakeSeed()} }

func (x *podIndex) hash(namespace, name string) uint64 {
	var h maphash.Hash
	h.SetSeed(x.seed)
	_, _ = h.WriteString(namespace)
	_ = h.WriteByte('/')
	_, _ = h.WriteString(name)
	return h.Sum64()
}

// nodes are those that may name a pod.
func (x *podIndex) nodes(namespace, name string) iter.Seq[string] {
	return func(yield func(string) bool) {
		hash := x.hash(namespace, name)
		shard := x.shards[hash%indexShards]
		for i := findHash(shard, hash); i < len(shard) && shard[i].hash == hash; i++ {
			if !yield(shard[i].node.Value()) {
				return
			}
		}
	}
}

// replace is the index after a node named others pods than before; either may
// be nil.
func (x *podIndex) replace(before, after *nodeState) *podIndex {
	c := change{index: x}
	var olds, news []podState
	if before != nil {
		c.node, olds = unique.Make(before.name), before.pods
	}
	if after != nil {
		c.node, news = unique.Make(after.name), after.pods
	}
	for len(olds) > 0 || len(news) > 0 {
		switch {
		case len(news) == 0 || len(olds) > 0 && comparePod(&olds[0], news[0].namespace, news[0].name) < 0:
			c.remove(&olds[0])
			olds = olds[1:]
		case len(olds) == 0 || comparePod(&olds[0], news[0].namespace, news[0].name) > 0:
			c.add(&news[0])
			news = news[1:]
		default:
			olds, news = olds[1:], news[1:]
		}
	}
	return c.index
}

// change copies of an index what it changes.
type change struct {
	index  *podIndex
	node   unique.Handle[string]
	own    bool              // index is a copy
	copied [indexShards]bool // these shards are
}

// shard is the one of a pod, to be changed.
func (c *change) shard(p *podState) (*[]podPlace, uint64) {
	if !c.own {
		c.index, c.own = new(*c.index), true
	}
	hash := c.index.hash(p.namespace, p.name)
	s := &c.index.shards[hash%indexShards]
	if i := hash % indexShards; !c.copied[i] {
		c.copied[i] = true
		*s = slices.Clone(*s)
	}
	return s, hash
}

func (c *change) add(p *podState) {
	s, hash := c.shard(p)
	*s = slices.Insert(*s, findHash(*s, hash), podPlace{hash, c.node})
}

func (c *change) remove(p *podState) {
	s, hash := c.shard(p)
	*s = slices.DeleteFunc(*s, func(at podPlace) bool { return at == podPlace{hash, c.node} })
}
