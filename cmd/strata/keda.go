package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/alecthomas/kingpin/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/model"

	"github.com/strata-metrics/strata/internal/serve"
	"github.com/strata-metrics/strata/pipeline"
	"github.com/strata-metrics/strata/pipeline/keda"
)

// kedaFlags are those of KEDA's external scaler.
type kedaFlags struct {
	listen   string
	queries  string
	interval model.Duration
	certFile string
	keyFile  string
	clientCA string
}

func (f *kedaFlags) declare(cmd *kingpin.CmdClause) {
	cmd.Flag("keda.listen-address", "Address on which triggers of KEDA of the types external and external-push are answered (gRPC). Whoever reaches it may ask, unless --keda.client-ca-file is set. Off by default.").
		PlaceHolder("<address>").StringVar(&f.listen)
	cmd.Flag("keda.queries", "Which PromQL a trigger may ask beside the names of external metrics: off, namespace (series with the label namespace of its ScaledObject) or any.").
		Default(string(keda.NamespaceQueries)).EnumVar(&f.queries, string(keda.NoQueries), string(keda.NamespaceQueries), string(keda.AnyQueries))
	duration(cmd, "keda.interval", "How often the question of a trigger of the type external-push is evaluated.", &f.interval).Default("5s")
	cmd.Flag("keda.tls-cert-file", "Certificate of --keda.listen-address; read again for each connection. Without it there is no TLS.").
		PlaceHolder("<file>").StringVar(&f.certFile)
	cmd.Flag("keda.tls-private-key-file", "Key of --keda.tls-cert-file.").PlaceHolder("<file>").StringVar(&f.keyFile)
	cmd.Flag("keda.client-ca-file", "Authority of the certificates that clients must have.").PlaceHolder("<file>").StringVar(&f.clientCA)
}

// kedaScaler answers KEDA.
type kedaScaler struct {
	server   *keda.Server
	listener net.Listener
}

// start binds the port. Without --keda.listen-address it gives nil, which
// answers nothing. a may be nil: then no trigger can name a metric.
func (f *kedaFlags) start(e *env, p *pipeline.Pipeline, a *adapterAPI, maxAge model.Duration, reg prometheus.Registerer) (*kedaScaler, error) {
	if f.listen == "" {
		return nil, nil
	}
	if f.interval <= 0 {
		return nil, usagef("--keda.interval must be above 0")
	}
	secure, err := f.tls()
	if err != nil {
		return nil, err
	}
	o := keda.StoreOptions{
		Querier: localData(p),
		Queries: keda.Queries(f.queries), Parser: p.Engine().Parser(), MaxAge: time.Duration(maxAge),
	}
	if a != nil {
		o.Metrics = a.adapter
	}
	k := &kedaScaler{}
	k.server, err = keda.New(keda.Options{
		Source: keda.NewStore(o), Interval: time.Duration(f.interval), TLS: secure, Ready: p.Ready,
		Logger: e.logger().With("component", "keda"), Registry: reg,
	})
	if err != nil {
		return nil, err
	}
	if k.listener, err = serve.ListenOn(f.listen, "--keda.listen-address"); err != nil {
		return nil, err
	}
	e.logger().Info("KEDA is answered", "component", "keda", "address", k.listener.Addr().String(), "tls", secure != nil, "queries", f.queries)
	return k, nil
}

// before runs the scaler and what it asks. The latter ends after it, since a
// query must not run on a store that is being closed.
func (k *kedaScaler) before(ctx context.Context, asked func(context.Context) error) error {
	if k == nil {
		return asked(ctx)
	}
	askedCtx, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, 1)
	go func() {
		defer stop()
		ended <- asked(askedCtx)
	}()
	err := k.server.Run(ctx, k.listener)
	end()
	return errors.Join(err, <-ended)
}

// tls is how connections are secured, nil for not at all. The files are read
// for each connection, so that they can be renewed.
func (f *kedaFlags) tls() (*tls.Config, error) {
	switch {
	case f.certFile == "" && f.keyFile == "" && f.clientCA == "":
		return nil, nil
	case f.certFile == "" || f.keyFile == "":
		return nil, usagef("--keda.tls-cert-file and --keda.tls-private-key-file go together, and --keda.client-ca-file needs both")
	}
	if _, err := f.readTLS(); err != nil {
		return nil, err
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"h2"},
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return f.readTLS() }}, nil
}

func (f *kedaFlags) readTLS() (*tls.Config, error) {
	pair, err := tls.LoadX509KeyPair(f.certFile, f.keyFile)
	if err != nil {
		return nil, fmt.Errorf("--keda.tls-cert-file: %w", err)
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"h2"}, Certificates: []tls.Certificate{pair}}
	if f.clientCA == "" {
		return c, nil
	}
	pem, err := os.ReadFile(f.clientCA)
	if err != nil {
		return nil, fmt.Errorf("--keda.client-ca-file: %w", err)
	}
	c.ClientAuth, c.ClientCAs = tls.RequireAndVerifyClientCert, x509.NewCertPool()
	if !c.ClientCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("--keda.client-ca-file: %s has no certificate in PEM", f.clientCA)
	}
	return c, nil
}
