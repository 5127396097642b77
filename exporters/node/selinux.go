package node

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/strata-metrics/strata/internal/collect"
	"github.com/strata-metrics/strata/internal/metric"
)

// selinux says whether the kernel enforces SELinux' policy, and whether it
// will after the next boot.
type selinux struct {
	dir, label, config       string
	reader                   reader
	statfs                   func(string, *unix.Statfs_t) error
	enabled, current, future *metric.Family
}

func newSELinux(o *Options) collect.Collector {
	return &selinux{
		dir:     o.sysPath("fs", "selinux"),
		label:   o.procPath("self", "attr", "current"),
		config:  filepath.Join(o.Rootfs, "etc", "selinux", "config"),
		statfs:  unix.Statfs,
		enabled: metric.NewGauge("node_selinux_enabled", "SELinux is enabled, 1 is true, 0 is false"),
		current: metric.NewGauge("node_selinux_current_mode", "Current SELinux enforcement mode"),
		future:  metric.NewGauge("node_selinux_config_mode", "Configured SELinux enforcement mode"),
	}
}

// Families implements collect.Collector.
func (c *selinux) Families() []*metric.Family {
	return []*metric.Family{c.enabled, c.current, c.future}
}

// Values of the two modes.
const (
	selinuxDisabled   = -1
	selinuxPermissive = 0
	selinuxEnforcing  = 1
)

// Collect implements collect.Collector.
func (c *selinux) Collect(_ context.Context, b *metric.Batch) error {
	if !c.active() {
		b.Add(c.enabled, 0)
		return nil
	}
	b.Add(c.enabled, 1)
	mode, err := c.reader.int(filepath.Join(c.dir, "enforce"))
	if err == nil {
		b.Add(c.current, float64(mode))
	}
	data, configErr := c.reader.read(c.config)
	if errors.Is(configErr, fs.ErrNotExist) {
		configErr = nil
	}
	if configErr == nil {
		b.Add(c.future, float64(selinuxMode(data)))
	}
	return errors.Join(err, configErr)
}

// active tells whether selinuxfs is mounted and a policy loaded: before that,
// everything has the label kernel.
func (c *selinux) active() bool {
	var s unix.Statfs_t
	if err := c.statfs(c.dir, &s); err != nil || uint32(s.Type) != unix.SELINUX_MAGIC {
		return false
	}
	label, err := c.reader.text(c.label)
	return err != nil || string(bytes.TrimRight(label, "\x00")) != "kernel"
}

// selinuxMode finds SELINUX= in /etc/selinux/config. Without it SELinux is
// disabled.
func selinuxMode(config []byte) int {
	for line := range bytes.Lines(config) {
		key, value, ok := bytes.Cut(bytes.TrimSpace(line), []byte("="))
		if !ok || string(bytes.TrimSpace(key)) != "SELINUX" {
			continue
		}
		switch string(bytes.Trim(bytes.TrimSpace(value), `"`)) {
		case "enforcing":
			return selinuxEnforcing
		case "permissive":
			return selinuxPermissive
		}
		return selinuxDisabled
	}
	return selinuxDisabled
}
