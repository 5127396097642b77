package node

import (
	"context"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/strata-metrics/strata/internal/collect"
	"github.com/strata-metrics/strata/internal/metric"
)

// fibreChannel reads the host adapters in /sys/class/fc_host.
type fibreChannel struct {
	dir      string
	reader   reader
	info     *metric.Family
	counters deviceNumbers
}

func newFibreChannel(o *Options) collect.Collector {
	counter := func(file, name, help string) number {
		return number{
			file:   "statistics/" + file,
			family: metric.NewCounter("node_fibrechannel_"+name+"_total", help, "fc_host"),
		}
	}
	return &fibreChannel{
		dir: o.sysPath("class", "fc_host"),
		info: metric.NewGauge("node_fibrechannel_info", "Non-numeric data from /sys/class/fc_host/<host>, value is always 1.",
			"fc_host", "speed", "port_state", "port_type", "port_id", "port_name", "fabric_name", "symbolic_name",
			"supported_classes", "supported_speeds", "dev_loss_tmo"),
		counters: deviceNumbers{
			counter("dumped_frames", "dumped_frames", "Number of dumped frames."),
			counter("error_frames", "error_frames", "Number of errors in frames."),
			counter("fcp_packet_aborts", "fcp_packet_aborts", "Number of aborted packets."),
			counter("invalid_crc_count", "invalid_crc", "Invalid Cyclic Redundancy Check count."),
			counter("invalid_tx_word_count", "invalid_tx_words", "Number of invalid words transmitted by host port."),
			counter("link_failure_count", "link_failure", "Number of times the host port link has failed."),
			counter("loss_of_signal_count", "loss_of_signal", "Number of times signal has been lost."),
			counter("loss_of_sync_count", "loss_of_sync", "Number of failures on either bit or transmission word boundaries."),
			counter("nos_count", "nos", "Number of Not_Operational primitive sequences received by host port."),
			counter("rx_frames", "rx_frames", "Number of frames received."),
			counter("rx_words", "rx_words", "Number of words received by host port."),
			counter("seconds_since_last_reset", "seconds_since_last_reset", "Number of seconds since last host port reset."),
			counter("tx_frames", "tx_frames", "Number of frames transmitted by host port."),
			counter("tx_words", "tx_words", "Number of words transmitted by host port."),
		},
	}
}

// Families implements collect.Collector.
func (c *fibreChannel) Families() []*metric.Family { return append(c.counters.families(), c.info) }

// Collect implements collect.Collector.
func (c *fibreChannel) Collect(_ context.Context, b *metric.Batch) error {
	hosts, err := entries(c.dir)
	if err != nil {
		return err
	}
	var errs error
	for _, host := range hosts {
		dir := filepath.Join(c.dir, host)
		texts, err := c.reader.labels(dir, "speed", "port_state", "port_type", "port_id", "port_name", "fabric_name",
			"symbolic_name", "supported_classes", "supported_speeds", "dev_loss_tmo")
		errs = errors.Join(errs, err)
		for i, text := range texts[3:6] { // identifiers of the port and its fabric begin with 0x
			if len(text) > 2 {
				texts[3+i] = text[2:]
			}
		}
		b.Add(c.info, 1, append([]string{host}, texts...)...)
		errs = errors.Join(errs, c.counters.collect(b, dir, c.counter, host))
	}
	return errs
}

// errNotCounted is what a counter is that the adapter's firmware lacks.
var errNotCounted = fmt.Errorf("not counted: %w", unix.EOPNOTSUPP)

// counter reads a counter, which most drivers write in hexadecimal form.
func (c *fibreChannel) counter(path string) (float64, error) {
	data, err := c.reader.text(path)
	if err != nil {
		return 0, err
	}
	v, err := strconv.ParseUint(string(data), 0, 64)
	if err != nil {
		return 0, fmt.Errorf("%s:1: %w: %s is not a number", path, errSyntax, quote(data))
	}
	if v == math.MaxUint64 {
		return 0, errNotCounted
	}
	return float64(v), nil
}
