package container

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/strata-metrics/strata/exporters/container/cri"
)

// layer is what a container holds in its writable layer.
type layer struct {
	root         string  // where the runtime keeps it: a path on the host
	used, inodes float64 // NaN: not known
	device       string  // that it is on, empty if it was not found
	limit        float64 // size of the file system
}

// layerer is an Identity that tells what containers have written.
type layerer interface {
	Layers(ctx context.Context) (map[string]layer, error)
}

// How often a runtime is asked for layers, which costs it much, and how long its
// last answer counts when there is no other. It is cAdvisor's interval.
const (
	layersEvery = time.Minute
	layersLast  = 5 * time.Minute
)

// layers keeps the last answer of one runtime. A new one is made beside the
// scrapes, none of which waits for it.
type layers struct {
	mu     sync.Mutex
	byID   map[string]layer
	at     time.Time // of byID
	next   time.Time
	flight *flight
}

// get gives the last answer, and has a new one made when it is time.
func (l *layers) get(now time.Time, timeout time.Duration, ask func(context.Context) (map[string]layer, error), report func(error)) map[string]layer {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now.Sub(l.at) >= layersLast {
		l.byID = nil
	}
	if l.flight != nil || now.Before(l.next) {
		return l.byID
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	f := &flight{done: make(chan struct{}), cancel: cancel}
	l.flight, l.next = f, now.Add(layersEvery)
	go func() {
		defer close(f.done)
		defer cancel()
		byID, err := ask(ctx)
		if err != nil {
			report(err)
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		l.flight = nil
		switch {
		case err == nil:
			l.byID, l.at = byID, now
		case errors.Is(err, cri.ErrUnimplemented):
			l.next = now.Add(noEventsPause)
		}
	}()
	return l.byID
}

// close ends what is under way.
func (l *layers) close() {
	l.mu.Lock()
	f := l.flight
	l.mu.Unlock()
	if f != nil {
		f.cancel()
		<-f.done
	}
}

// addLayers adds to the containers of a pass what they hold in their writable
// layers, with cAdvisor's meaning: the inodes are those that the layer uses, of
// which none is free.
func (e *Exporter) addLayers(all []Cgroup, now time.Time) {
	known := map[*directory]map[string]layer{}
	for i := range all {
		c := &all[i]
		if c.who == nil || c.who.Sandbox || c.ended != nil {
			continue
		}
		d := e.directoryOf(c)
		byID, ok := known[d]
		if !ok {
			byID = e.layersOf(d, now)
			known[d] = byID
		}
		of, ok := byID[c.containerID]
		if !ok {
			continue
		}
		c.add(fsUsage, of.used, of.device)
		if !math.IsNaN(of.limit) {
			c.add(fsLimit, of.limit, of.device)
		}
		if !math.IsNaN(of.inodes) {
			c.add(fsInodes, of.inodes, of.device)
			c.add(fsInodesFree, 0, of.device)
		}
	}
}

// layersOf gives what the runtime of a directory has told. Those of users are not
// asked.
func (e *Exporter) layersOf(d *directory, now time.Time) map[string]layer {
	source, ok := d.source.(layerer)
	if !ok || d.private {
		return nil
	}
	ask := func(ctx context.Context) (map[string]layer, error) {
		byID, err := source.Layers(ctx)
		if err != nil {
			return nil, err
		}
		e.place(byID)
		return byID, nil
	}
	return d.layers.get(now, d.timeout, ask, func(err error) {
		if !errors.Is(err, ErrNoRuntime) && !errors.Is(err, cri.ErrUnimplemented) {
			e.own.runtimeErrors.Inc()
			e.o.Logger.Debug("what containers have written is not shown", "reason", err)
		}
	})
}

// place finds the devices that layers are on. All layers of a runtime share a
// root, or few.
func (e *Exporter) place(byID map[string]layer) {
	var r reader
	defer r.close()
	mounts, _ := parsed(&r, filepath.Join(e.o.Procfs, "1"), "mountinfo", parseFilesystems)
	found := map[string]layer{}
	for id, one := range byID {
		at, ok := found[one.root]
		if !ok {
			at = layer{device: one.root, limit: math.NaN()}
			point := ""
			for _, f := range mounts {
				if len(f.point) > len(point) && within(one.root, f.point) {
					at.device, point = f.device, f.point
				}
			}
			var st unix.Statfs_t
			if point != "" && unix.Statfs(filepath.Join(e.o.Rootfs, point), &st) == nil {
				at.limit = float64(st.Blocks * uint64(st.Bsize))
			}
			found[one.root] = at
		}
		one.device, one.limit = at.device, at.limit
		byID[id] = one
	}
}

// within tells whether a path is at or below another.
func within(path, point string) bool {
	return path == point || strings.HasPrefix(path, strings.TrimSuffix(point, "/")+"/")
}

// Layers implements layerer.
func (c *criRuntime) Layers(ctx context.Context) (map[string]layer, error) {
	client, at, err := c.connect()
	if err != nil {
		return nil, err
	}
	all, err := client.Layers(ctx)
	if err != nil {
		return nil, fmt.Errorf("container runtime at %s: asking what containers have written: %w", at, err)
	}
	out := make(map[string]layer, len(all))
	for _, one := range all {
		if !math.IsNaN(one.Used) { // else not told yet
			out[one.ContainerID] = layer{root: one.Mountpoint, used: one.Used, inodes: one.Inodes}
		}
	}
	return out, nil
}

// Layers implements layerer. Docker counts bytes alone.
func (d *docker) Layers(ctx context.Context) (map[string]layer, error) {
	version, err := d.negotiate(ctx)
	if err != nil {
		return nil, err
	}
	var info struct{ DockerRootDir string }
	var list []struct {
		ID     string `json:"Id"`
		SizeRw *float64
	}
	for _, one := range []struct {
		path string
		to   any
	}{{"/info", &info}, {"/containers/json?size=true", &list}} {
		body, _, err := d.get(ctx, version+one.path)
		if err != nil {
			return nil, err
		}
		if err := json.Unmarshal(body, one.to); err != nil {
			return nil, fmt.Errorf("container runtime at %s: %s: %w", d.path, one.path, err)
		}
	}
	out := make(map[string]layer, len(list))
	for _, one := range list {
		switch {
		case one.SizeRw != nil:
			out[one.ID] = layer{root: info.DockerRootDir, used: *one.SizeRw, inodes: math.NaN()}
		case info.DockerRootDir != "":
			out[one.ID] = layer{root: info.DockerRootDir, inodes: math.NaN()} // it leaves out 0
		}
	}
	return out, nil
}
