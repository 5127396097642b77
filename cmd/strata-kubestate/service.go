package main

import (
	"context"
	"crypto/md5"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/strata-metrics/strata/exporters/kubestate"
	"github.com/strata-metrics/strata/exporters/kubestate/custom"
	"github.com/strata-metrics/strata/internal/serve"
)

// service keeps an exporter that is as the flags and files say, and makes
// another when a file changes. What was served goes on until the new one is
// ready.
type service struct {
	args     flags // as given, without the file
	logger   *slog.Logger
	registry prometheus.Registerer
	files    *files
	every    time.Duration  // between two looks at the files
	patience time.Duration  // with a new exporter that does not get ready
	custom   *custom.Config // the last that was good
	current  atomic.Pointer[kubestate.Exporter]
}

func newService(args flags, logger *slog.Logger, registry prometheus.Registerer) *service {
	return &service{
		args: args, logger: logger, registry: registry, files: newFiles(registry),
		every: 5 * time.Second, patience: time.Minute,
	}
}

// load reads the files and makes an exporter of them.
func (s *service) load() (flags, *kubestate.Exporter, error) {
	f := s.args
	if f.config != "" {
		content, err := s.files.read(typeConfig, f.config)
		if err == nil {
			f, err = over(f, content)
			s.files.loaded(typeConfig, s.args.config, content, err)
		}
		switch {
		case errors.Is(err, os.ErrNotExist) && f.continueWithout:
			s.logger.Warn("the file of --config is not there yet", "file", f.config)
		case err != nil:
			return f, nil, fmt.Errorf("--config %s: %w", s.args.config, err)
		}
	}
	options, err := f.options()
	if err != nil {
		return f, nil, &serve.UsageError{Err: err}
	}
	if err := s.loadCustom(&f); err != nil {
		return f, nil, err
	}
	options.CustomResources = s.custom
	if f.kubeconfig != "" {
		_, _ = s.files.read(typeKubeconfig, f.kubeconfig) // a change makes an exporter too
	}
	if options.Config, err = kubestate.LoadConfig(f.apiserver, f.kubeconfig); err != nil {
		return f, nil, err
	}
	options.Logger, options.Registry = s.logger, s.registry
	exporter, err := kubestate.New(options)
	return f, exporter, err
}

// loadCustom reads what to show of custom resources. A mistake in it is told
// and costs nothing else: what was good before is kept.
func (s *service) loadCustom(f *flags) error {
	content, from := []byte(f.custom), "--custom-resource-state-config"
	if f.custom == "" {
		if f.customFile == "" {
			s.custom = nil
			return nil
		}
		from = "--custom-resource-state-config-file " + f.customFile
		var err error
		content, err = s.files.read(typeCustom, f.customFile)
		switch {
		case err == nil:
		case errors.Is(err, os.ErrNotExist) && f.continueWithoutCustom:
			s.logger.Warn("the file of --custom-resource-state-config-file is not there yet", "file", f.customFile)
			return nil
		default:
			return fmt.Errorf("%s: %w", from, err)
		}
	}
	builtIn := make(map[string]bool)
	for _, family := range kubestate.Families() {
		builtIn[family.Name()] = true
	}
	config, err := custom.Parse(content, func(name string) bool { return builtIn[name] })
	if f.custom == "" {
		s.files.loaded(typeCustom, f.customFile, content, err)
	}
	if err != nil {
		s.logger.Error("what to show of custom resources is not valid and not taken", "from", from, "err", err)
		return nil
	}
	for _, warning := range config.Warnings {
		s.logger.Warn("what to show of custom resources has parts without a meaning", "from", from, "err", warning)
	}
	s.custom = config
	return nil
}

// start loads for the first time.
func (s *service) start() (flags, error) {
	f, exporter, err := s.load()
	if err == nil {
		s.current.Store(exporter)
	}
	return f, err
}

// run follows the cluster, and the files, until the context ends.
func (s *service) run(ctx context.Context) error {
	running := begin(ctx, s.current.Load())
	tick := time.NewTicker(s.every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return running.end()
		case <-tick.C:
		}
		if !s.files.changed() {
			continue
		}
		_, next, err := s.load()
		if err != nil {
			s.logger.Error("a changed file is not taken; what was before goes on", "err", err)
			continue
		}
		s.logger.Info("a file has changed; the new state is served when it is complete. Addresses, TLS and --auth-filter change with the next start only")
		started := begin(ctx, next)
		s.await(ctx, next)
		s.current.Store(next)
		if err := running.end(); err != nil {
			return err
		}
		running = started
	}
}

// await waits until the next exporter is ready, unless the current one is not
// either.
func (s *service) await(ctx context.Context, next *kubestate.Exporter) {
	ctx, cancel := context.WithTimeout(ctx, s.patience)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for next.Ready() != nil && s.ready() == nil {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (s *service) ready() error { return s.current.Load().Ready() }

// ServeHTTP serves /metrics.
func (s *service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.current.Load().Handler().ServeHTTP(w, r)
}

// running is an exporter that runs.
type running struct {
	cancel context.CancelFunc
	done   chan error
}

func begin(ctx context.Context, e *kubestate.Exporter) running {
	ctx, cancel := context.WithCancel(ctx)
	r := running{cancel, make(chan error, 1)}
	go func() { r.done <- e.Run(ctx) }()
	return r
}

func (r running) end() error {
	r.cancel()
	return <-r.done
}

// The types of files, as kube-state-metrics names them.
const (
	typeConfig     = "config"
	typeCustom     = "customresourceconfig"
	typeKubeconfig = "kubeconfig"
)

// files knows what was read, and says when that is no longer so.
type files struct {
	contents map[string]string
	hash     *prometheus.GaugeVec
	success  *prometheus.GaugeVec
	at       *prometheus.GaugeVec
}

func newFiles(r prometheus.Registerer) *files {
	gauge := func(name, help string) *prometheus.GaugeVec {
		g := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "kube_state_metrics_" + name, Help: help}, []string{"type", "filename"})
		r.MustRegister(g)
		return g
	}
	return &files{
		contents: make(map[string]string),
		hash:     gauge("config_hash", "Hash of a configuration file as it was last taken."),
		success:  gauge("last_config_reload_successful", "Whether a configuration file was taken the last time that it changed."),
		at:       gauge("last_config_reload_success_timestamp_seconds", "Time at which a configuration file was last taken, in seconds since 1970."),
	}
}

// read reads a file that is to be watched from now on.
func (f *files) read(sort, path string) ([]byte, error) {
	content, err := os.ReadFile(path)
	f.contents[path] = string(content)
	if err != nil && sort != typeKubeconfig {
		f.success.WithLabelValues(sort, path).Set(0)
	}
	return content, err
}

// loaded takes whether the content of a file was good.
func (f *files) loaded(sort, path string, content []byte, err error) {
	if err != nil {
		f.success.WithLabelValues(sort, path).Set(0)
		return
	}
	// 48 bits, which a float64 can hold.
	sum := md5.Sum(content)
	hash := make([]byte, 8)
	copy(hash, sum[:6])
	f.hash.WithLabelValues(sort, path).Set(float64(binary.LittleEndian.Uint64(hash)))
	f.success.WithLabelValues(sort, path).Set(1)
	f.at.WithLabelValues(sort, path).SetToCurrentTime()
}

// changed says whether any file is not as it was read.
func (f *files) changed() bool {
	for path, before := range f.contents {
		now, err := os.ReadFile(path)
		if string(now) != before && (err == nil || before != "") {
			return true
		}
	}
	return false
}
