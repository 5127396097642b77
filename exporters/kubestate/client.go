package kubestate

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// LoadConfig finds the API server: a kubeconfig file, of which apiserver, when
// given, replaces the address; or apiserver alone; or, with neither, that of
// the pod which this process runs in.
func LoadConfig(apiserver, kubeconfig string) (*rest.Config, error) {
	if apiserver == "" && kubeconfig == "" {
		config, err := rest.InClusterConfig()
		if errors.Is(err, rest.ErrNotInCluster) {
			return nil, errors.New("no API server: this is not a pod of a cluster, so give --kubeconfig or --apiserver")
		}
		if err != nil {
			return nil, fmt.Errorf("service account of this pod: %w", err)
		}
		return config, nil
	}
	flag, value := "--kubeconfig", kubeconfig
	if kubeconfig == "" {
		flag, value = "--apiserver", apiserver
	}
	file, err := (&clientcmd.ClientConfigLoadingRules{ExplicitPath: kubeconfig}).Load()
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", flag, value, err)
	}
	overrides := &clientcmd.ConfigOverrides{ClusterInfo: clientcmdapi.Cluster{Server: apiserver}}
	config, err := clientcmd.NewDefaultClientConfig(*file, overrides).ClientConfig()
	if clientcmd.IsEmptyConfig(err) {
		return nil, fmt.Errorf("%s %s: it names no cluster", flag, value)
	}
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", flag, value, err)
	}
	return config, nil
}

// client reaches the API groups of the chosen kinds, and decodes nothing else.
type client struct {
	http   *http.Client
	groups map[schema.GroupVersion]rest.Interface
	params runtime.ParameterCodec
	config *rest.Config
}

// dynamic reaches a group whose types are not known: its objects come as what
// their JSON holds.
func (c *client) dynamic(gv schema.GroupVersion) (rest.Interface, error) {
	config := dynamic.ConfigFor(c.config)
	config.GroupVersion, config.APIPath = &gv, "/apis"
	return rest.RESTClientForConfigAndClient(config, c.http)
}

func newClient(c *rest.Config, groups []apiGroup) (*client, error) {
	config := rest.CopyConfig(c)
	config.ContentType = runtime.ContentTypeProtobuf
	config.AcceptContentTypes = runtime.ContentTypeProtobuf + "," + runtime.ContentTypeJSON
	if config.UserAgent == "" {
		config.UserAgent = rest.DefaultKubernetesUserAgent()
	}
	// A list-watch makes few calls and waits longer after each failure: a
	// limit of its own would only delay the start.
	config.QPS = -1

	scheme := runtime.NewScheme()
	metav1.AddToGroupVersion(scheme, schema.GroupVersion{Version: "v1"}) // Status
	for _, g := range groups {
		if err := g.addTo(scheme); err != nil {
			return nil, fmt.Errorf("types of %s: %w", g.version, err)
		}
	}
	httpClient, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, fmt.Errorf("credentials for %s: %w", config.Host, err)
	}
	cl := &client{
		http:   httpClient,
		groups: make(map[schema.GroupVersion]rest.Interface),
		params: runtime.NewParameterCodec(scheme),
		config: rest.CopyConfig(config),
	}
	config.NegotiatedSerializer = serializer.NewCodecFactory(scheme).WithoutConversion()
	for _, g := range groups {
		gv := g.version
		config.GroupVersion, config.APIPath = &gv, "/apis"
		if gv.Group == "" {
			config.APIPath = "/api"
		}
		if cl.groups[gv], err = rest.RESTClientForConfigAndClient(config, httpClient); err != nil {
			return nil, fmt.Errorf("API server %s: %w", config.Host, err)
		}
	}
	return cl, nil
}

// ping is nil when an API server answers, whatever it says.
func (c *client) ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for _, group := range c.groups {
		err := group.Get().MaxRetries(0).AbsPath("/version").Do(ctx).Error()
		if unreachable(err) {
			return err
		}
		break // all groups are of one server
	}
	return nil
}
