package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/alecthomas/kingpin/v2"
	"github.com/prometheus/common/model"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/strata-metrics/strata/pipeline/explain"
)

// explainCommand is `strata explain`.
func explainCommand() command {
	return command{name: "explain", help: "Say why a HorizontalPodAutoscaler scaled, or did not: its metrics when it asked, what they ask for, what limits it.",
		setup: func(cmd *kingpin.CmdClause, _ *env) func(context.Context) error {
			x := &explainer{out: os.Stdout}
			cmd.Arg("kind", "What to explain: hpa.").Required().EnumVar(&x.kind, "hpa")
			cmd.Arg("name", "Its name.").Required().StringVar(&x.name)
			cmd.Flag("namespace", "Its namespace; by default that of the kubeconfig's context.").Short('n').StringVar(&x.namespace)
			duration(cmd, "since", "How far back to look.", &x.since).Default("1h")
			cmd.Flag("output", "text, or json for programs.").Short('o').Default("text").EnumVar(&x.output, "text", "json")
			cmd.Flag("server", "URL of the Strata server; by default those of the kubeconfig's cluster are asked through its API server.").
				PlaceHolder("<url>").StringVar(&x.server)
			cmd.Flag("kubeconfig", "Kubeconfig; by default $KUBECONFIG or ~/.kube/config.").StringVar(&x.kubeconfig)
			cmd.Flag("context", "Context of the kubeconfig.").StringVar(&x.context)
			return x.run
		}}
}

// explainTimeout is how long all servers together may take.
const explainTimeout = 30 * time.Second

// serverPods are the pods of the chart's servers.
const serverPods = "app.kubernetes.io/name=strata,app.kubernetes.io/component=server"

// explainer is one run of the command.
type explainer struct {
	kind, name, namespace string
	since                 model.Duration
	output, server        string
	kubeconfig, context   string
	out                   io.Writer
}

func (x *explainer) run(ctx context.Context) error {
	h, err := x.ask(ctx)
	if err != nil {
		return err
	}
	if x.output == "json" {
		enc := json.NewEncoder(x.out)
		enc.SetIndent("", "  ")
		return enc.Encode(h)
	}
	return h.Text(x.out)
}

func (x *explainer) ask(ctx context.Context) (*explain.HPA, error) {
	ctx, cancel := context.WithTimeout(ctx, explainTimeout)
	defer cancel()
	if x.server != "" {
		u, err := url.Parse(strings.TrimRight(x.server, "/"))
		if err != nil || u.Host == "" {
			return nil, usagef("--server: %q is not a URL; write http://host:port", x.server)
		}
		if x.namespace == "" {
			x.namespace = metav1.NamespaceDefault
		}
		return x.get(ctx, http.DefaultClient, u.String())
	}
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = x.kubeconfig
	loader := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &clientcmd.ConfigOverrides{CurrentContext: x.context})
	config, err := loader.ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("kubeconfig: %w; give --kubeconfig, or --server=URL of a Strata server", err)
	}
	if x.namespace == "" {
		if x.namespace, _, err = loader.Namespace(); err != nil {
			return nil, fmt.Errorf("kubeconfig: %w", err)
		}
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	api, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, err
	}
	return x.throughCluster(ctx, client, api)
}

// get asks the server at a base URL.
func (x *explainer) get(ctx context.Context, client *http.Client, base string) (*explain.HPA, error) {
	at := base + explain.Path + url.PathEscape(x.namespace) + "/" + url.PathEscape(x.name) + "?since=" + x.since.String()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
	if err != nil {
		return nil, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask the server: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, fmt.Errorf("read the answer of %s: %w", base, err)
	}
	return decode(base, resp.StatusCode, body)
}

// throughCluster asks all servers of the chart, each of which knows the answers
// that it gave itself, and takes the word of the one that was asked last.
func (x *explainer) throughCluster(ctx context.Context, client kubernetes.Interface, api *http.Client) (*explain.HPA, error) {
	pods, err := client.CoreV1().Pods(metav1.NamespaceAll).List(ctx, metav1.ListOptions{LabelSelector: serverPods})
	if err != nil {
		return nil, fmt.Errorf("look for Strata's servers: %w; give --server=URL", err)
	}
	if len(pods.Items) == 0 {
		return nil, fmt.Errorf("no pod of the cluster has the labels %s: is the chart installed? Otherwise give --server=URL", serverPods)
	}
	var best *explain.HPA
	var errs []error
	for i := range pods.Items {
		p := &pods.Items[i]
		base := client.CoreV1().RESTClient().Get().Namespace(p.Namespace).Resource("pods").
			Name("http:" + p.Name + ":" + strconv.Itoa(pagePort(p.Spec.Containers))).SubResource("proxy").URL()
		h, err := x.get(ctx, api, base.String())
		if err != nil {
			errs = append(errs, err)
		} else if best == nil || h.LastAnswer().After(best.LastAnswer()) {
			best = h
		}
	}
	if best == nil {
		return nil, errors.Join(errs...)
	}
	return best, nil
}

// pagePort is the port of the page among those of a server's pod.
func pagePort(containers []corev1.Container) int {
	for _, c := range containers {
		for _, p := range c.Ports {
			if p.Name == "http" {
				return int(p.ContainerPort)
			}
		}
	}
	return 9090
}

// decode reads an answer of the API, whose errors are for people already.
func decode(from string, code int, body []byte) (*explain.HPA, error) {
	var answer struct {
		Status, Error string
		Data          *explain.HPA
	}
	switch err := json.Unmarshal(body, &answer); {
	case err != nil:
		return nil, fmt.Errorf("%s answered %d, which is no explanation: is it a Strata server?", from, code)
	case answer.Error != "":
		return nil, errors.New(answer.Error)
	case answer.Data == nil:
		return nil, fmt.Errorf("%s knows no autoscalers: it serves no metrics of a cluster (--adapter.config)", from)
	}
	return answer.Data, nil
}
