package node

import (
	"context"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/strata-metrics/strata/internal/collect"
	"github.com/strata-metrics/strata/internal/metric"
)

// timex asks adjtimex(2) how well the clock is kept.
type timex struct {
	call     func(*unix.Timex) (int, error)
	families [timexValues]*metric.Family
}

// Places in timex.families.
const (
	timexSync = iota
	timexOffset
	timexFrequency
	timexMaxError
	timexEstimatedError
	timexStatus
	timexConstant
	timexTick
	timexPPSFrequency
	timexPPSJitter
	timexPPSShift
	timexPPSStability
	timexPPSJitterCount
	timexPPSCalibrations
	timexPPSErrors
	timexPPSStabilityCount
	timexTAI
	timexValues
)

func newTimex(*Options) collect.Collector {
	gauge := func(name, help string) *metric.Family { return metric.NewGauge("node_timex_"+name, help) }
	counter := func(name, help string) *metric.Family { return metric.NewCounter("node_timex_"+name, help) }
	return &timex{call: unix.Adjtimex, families: [timexValues]*metric.Family{
		timexSync:              gauge("sync_status", "Is clock synchronized to a reliable server (1 = yes, 0 = no)."),
		timexOffset:            gauge("offset_seconds", "Time offset in between local system and reference clock."),
		timexFrequency:         gauge("frequency_adjustment_ratio", "Local clock frequency adjustment."),
		timexMaxError:          gauge("maxerror_seconds", "Maximum error in seconds."),
		timexEstimatedError:    gauge("estimated_error_seconds", "Estimated error in seconds."),
		timexStatus:            gauge("status", "Value of the status array bits."),
		timexConstant:          gauge("loop_time_constant", "Phase-locked loop time constant."),
		timexTick:              gauge("tick_seconds", "Seconds between clock ticks."),
		timexPPSFrequency:      gauge("pps_frequency_hertz", "Pulse per second frequency."),
		timexPPSJitter:         gauge("pps_jitter_seconds", "Pulse per second jitter."),
		timexPPSShift:          gauge("pps_shift_seconds", "Pulse per second interval duration."),
		timexPPSStability:      gauge("pps_stability_hertz", "Pulse per second stability, average of recent frequency changes."),
		timexPPSJitterCount:    counter("pps_jitter_total", "Pulse per second count of jitter limit exceeded events."),
		timexPPSCalibrations:   counter("pps_calibration_total", "Pulse per second count of calibration intervals."),
		timexPPSErrors:         counter("pps_error_total", "Pulse per second count of calibration errors."),
		timexPPSStabilityCount: counter("pps_stability_exceeded_total", "Pulse per second count of stability limit exceeded events."),
		timexTAI:               gauge("tai_offset_seconds", "International Atomic Time (TAI) offset."),
	}}
}

// Families implements collect.Collector.
func (c *timex) Families() []*metric.Family { return c.families[:] }

// Collect implements collect.Collector.
func (c *timex) Collect(_ context.Context, b *metric.Batch) error {
	var t unix.Timex
	state, err := c.call(&t)
	if err != nil {
		return noPermission(fmt.Errorf("adjtimex: %w", err))
	}
	for i, v := range timexSamples(state, &t) {
		b.Add(c.families[i], v)
	}
	return nil
}

// timexSamples turns the kernel's units into seconds and ratios.
func timexSamples(state int, t *unix.Timex) [timexValues]float64 {
	const (
		micro = 1e6
		nano  = 1e9
		// scaledPPM is the unit of frequencies: parts per million with a
		// fraction of 16 bits.
		scaledPPM = micro * 65536.0
		timeError = 5      // TIME_ERROR: the clock is not synchronised
		staNano   = 0x2000 // STA_NANO: offset and jitter are in nanoseconds
	)
	divisor := micro
	if t.Status&staNano != 0 {
		divisor = nano
	}
	sync := 1.0
	if state == timeError {
		sync = 0
	}
	return [timexValues]float64{
		timexSync:              sync,
		timexOffset:            float64(t.Offset) / divisor,
		timexFrequency:         1 + float64(t.Freq)/scaledPPM,
		timexMaxError:          float64(t.Maxerror) / micro,
		timexEstimatedError:    float64(t.Esterror) / micro,
		timexStatus:            float64(t.Status),
		timexConstant:          float64(t.Constant),
		timexTick:              float64(t.Tick) / micro,
		timexPPSFrequency:      float64(t.Ppsfreq) / scaledPPM,
		timexPPSJitter:         float64(t.Jitter) / divisor,
		timexPPSShift:          float64(t.Shift),
		timexPPSStability:      float64(t.Stabil) / scaledPPM,
		timexPPSJitterCount:    float64(t.Jitcnt),
		timexPPSCalibrations:   float64(t.Calcnt),
		timexPPSErrors:         float64(t.Errcnt),
		timexPPSStabilityCount: float64(t.Stbcnt),
		timexTAI:               float64(t.Tai),
	}
}
