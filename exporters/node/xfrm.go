package node

import (
	"context"

	"github.com/strata-metrics/strata/internal/collect"
	"github.com/strata-metrics/strata/internal/metric"
)

// xfrm reads the errors of IPsec, see
// Documentation/networking/xfrm/xfrm_proc.rst of the kernel.
type xfrm struct {
	path     string
	reader   reader
	families [len(xfrmKeys)]*metric.Family
}

// xfrmKeys are the words of the lines, the names of the families and what they
// mean.
var xfrmKeys = [...]struct{ word, name, help string }{
	{"XfrmInError", "in_error", "Received packets with an error that has no counter of its own."},
	{"XfrmInBufferError", "in_buffer_error", "Received packets for which there was no buffer."},
	{"XfrmInHdrError", "in_hdr_error", "Received packets with a wrong header."},
	{"XfrmInNoStates", "in_no_states", "Received packets without a state: wrong SPI, address or protocol."},
	{"XfrmInStateProtoError", "in_state_proto_error", "Received packets with an error of the transformation, such as a wrong key."},
	{"XfrmInStateModeError", "in_state_mode_error", "Received packets with an error of the transformation's mode."},
	{"XfrmInStateSeqError", "in_state_seq_error", "Received packets with a sequence number out of the window."},
	{"XfrmInStateExpired", "in_state_expired", "Received packets whose state has expired."},
	{"XfrmInStateMismatch", "in_state_mismatch", "Received packets that do not match an option of their state."},
	{"XfrmInStateInvalid", "in_state_invalid", "Received packets whose state is invalid."},
	{"XfrmInTmplMismatch", "in_tmpl_mismatch", "Received packets with no template that matches their states."},
	{"XfrmInNoPols", "in_no_pols", "Received packets with states but no policy."},
	{"XfrmInPolBlock", "in_pol_block", "Received packets that a policy discards."},
	{"XfrmInPolError", "in_pol_error", "Received packets with an error of a policy."},
	{"XfrmOutError", "out_error", "Sent packets with an error that has no counter of its own."},
	{"XfrmOutBundleGenError", "out_bundle_gen_error", "Sent packets whose bundle could not be made."},
	{"XfrmOutBundleCheckError", "out_bundle_check_error", "Sent packets whose bundle was wrong."},
	{"XfrmOutNoStates", "out_no_states", "Sent packets without a state."},
	{"XfrmOutStateProtoError", "out_state_proto_error", "Sent packets with an error of the transformation."},
	{"XfrmOutStateModeError", "out_state_mode_error", "Sent packets with an error of the transformation's mode."},
	{"XfrmOutStateSeqError", "out_state_seq_error", "Sent packets whose sequence number overflows."},
	{"XfrmOutStateExpired", "out_state_expired", "Sent packets whose state has expired."},
	{"XfrmOutPolBlock", "out_pol_block", "Sent packets that a policy discards."},
	{"XfrmOutPolDead", "out_pol_dead", "Sent packets whose policy is dead."},
	{"XfrmOutPolError", "out_pol_error", "Sent packets with an error of a policy."},
	{"XfrmFwdHdrError", "fwd_hdr_error", "Packets that may not be forwarded."},
	{"XfrmOutStateInvalid", "out_state_invalid", "Sent packets whose state is invalid, perhaps expired."},
	{"XfrmAcquireError", "acquire_error", "Packets whose state was not fully acquired before use."},
}

func newXfrm(o *Options) collect.Collector {
	c := &xfrm{path: o.procPath("net", "xfrm_stat")}
	for i, k := range xfrmKeys {
		c.families[i] = metric.NewCounter("node_xfrm_"+k.name+"_packets_total", k.help)
	}
	return c
}

// Families implements collect.Collector.
func (c *xfrm) Families() []*metric.Family { return c.families[:] }

// Collect implements collect.Collector.
func (c *xfrm) Collect(_ context.Context, b *metric.Batch) error {
	data, err := c.reader.read(c.path)
	if err != nil {
		return err
	}
	values, err := parseXfrm(c.path, data)
	if err != nil {
		return err
	}
	for i, f := range c.families {
		b.Add(f, float64(values[i]))
	}
	return nil
}

// parseXfrm reads the lines of xfrmKeys and skips those it does not know. One
// that is missing counts 0.
func parseXfrm(path string, data []byte) (values [len(xfrmKeys)]int64, err error) {
	l := newLines(path, data)
	for l.nextOrRest() {
		word, rest := field(l.line)
		number, _ := field(rest)
		v, err := parseInt(number)
		if err != nil {
			return values, l.errorf("%s: %s is not a number", quote(word), quote(number))
		}
		for i := range xfrmKeys {
			if string(word) == xfrmKeys[i].word {
				values[i] = v
			}
		}
	}
	return values, l.end()
}
