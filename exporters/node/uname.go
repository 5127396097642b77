package node

import (
	"context"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/strata-metrics/strata/internal/collect"
	"github.com/strata-metrics/strata/internal/metric"
)

// uname asks the system call of that name.
type uname struct {
	call func(*unix.Utsname) error
	info *metric.Family
}

func newUname(*Options) collect.Collector {
	return &uname{
		call: unix.Uname,
		info: metric.NewGauge("node_uname_info", "Labeled system information as provided by the uname system call.",
			"sysname", "release", "version", "machine", "nodename", "domainname"),
	}
}

// Families implements collect.Collector.
func (c *uname) Families() []*metric.Family { return []*metric.Family{c.info} }

// Collect implements collect.Collector.
func (c *uname) Collect(_ context.Context, b *metric.Batch) error {
	var u unix.Utsname
	if err := c.call(&u); err != nil {
		return fmt.Errorf("uname: %w", err)
	}
	b.Add(c.info, 1,
		unix.ByteSliceToString(u.Sysname[:]), unix.ByteSliceToString(u.Release[:]),
		unix.ByteSliceToString(u.Version[:]), unix.ByteSliceToString(u.Machine[:]),
		unix.ByteSliceToString(u.Nodename[:]), unix.ByteSliceToString(u.Domainname[:]))
	return nil
}
