package migrate

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// way is how a trigger of KEDA can be served.
type way int

const (
	byKEDA     way = iota // only KEDA asks there
	byQuery               // an external metric, by PromQL
	byResource            // cpu or memory, by metrics.k8s.io
)

// triggerRow says what becomes of a type of trigger.
type triggerRow struct {
	types []string
	way   way
	// asks is what KEDA asks, for those that only it can.
	asks string
	// exporter and query are how Strata could have the same number: with the
	// exporter scraped, by the query, in which {name} stands for metadata.
	exporter, query string
	// target is the metadata that holds the target of the query, and its default.
	target, byDefault string
	// note is what else there is to say.
	note string
}

// triggers is the table of KEDA's triggers.
func triggers() []triggerRow {
	const cloudwatch, azure, google, sql = "cloudwatch_exporter", "azure-metrics-exporter", "stackdriver_exporter", "sql_exporter, with your query,"
	return []triggerRow{
		{types: []string{"prometheus"}, way: byQuery},
		{types: []string{"cpu", "memory"}, way: byResource},
		{types: []string{"cron"}, asks: "the clock", note: "PromQL's clock (hour(), day_of_week()) knows UTC only"},
		{types: []string{"external", "external-push"}, asks: "another scaler"},
		{types: []string{"metrics-api"}, asks: "a service's own API", exporter: "json_exporter, or the service's own /metrics,"},
		{types: []string{"kubernetes-workload"}, asks: "the API server for Pods", exporter: "strata-kubestate (kube_pod_labels, kube_pod_status_phase)"},
		{types: []string{"kafka", "apache-kafka"}, asks: "Kafka", exporter: "kafka_exporter",
			query: `sum(kafka_consumergroup_lag{consumergroup="{consumerGroup}",topic="{topic}"})`, target: "lagThreshold", byDefault: "10",
			note: "KEDA asks for no more replicas than there are partitions (unless allowIdleConsumers): set maxReplicas to them"},
		{types: []string{"rabbitmq"}, asks: "RabbitMQ", exporter: "RabbitMQ's own plugin (/metrics/per-object)",
			query: `sum(rabbitmq_queue_messages{queue="{queueName}"})`, target: "value", byDefault: "20",
			note: "that is mode QueueLength; with excludeUnacknowledged it is rabbitmq_queue_messages_ready"},
		{types: []string{"redis", "redis-cluster", "redis-sentinel"}, asks: "Redis", exporter: "redis_exporter (--check-single-keys={listName})",
			query: `sum(redis_key_size{key="{listName}"})`, target: "listLength", byDefault: "5"},
		{types: []string{"redis-streams", "redis-cluster-streams", "redis-sentinel-streams"}, asks: "Redis", exporter: "redis_exporter (--check-streams)",
			query: `sum(redis_stream_group_messages_pending{stream="{stream}",group="{consumerGroup}"})`, target: "pendingEntriesCount", byDefault: "5"},
		{types: []string{"nats-jetstream"}, asks: "NATS", exporter: "prometheus-nats-exporter (-jsz=consumers)",
			query: `sum(jetstream_consumer_num_pending{stream_name="{stream}",consumer_name="{consumer}"})`, target: "lagThreshold", byDefault: "10"},
		{types: []string{"stan"}, asks: "NATS Streaming", exporter: "prometheus-nats-exporter (-channelz)"},
		{types: []string{"activemq", "artemis-queue"}, asks: "the broker", exporter: "jmx_exporter"},
		{types: []string{"pulsar"}, asks: "Pulsar", exporter: "Pulsar's own /metrics",
			query: `sum(pulsar_subscription_back_log{topic="{topic}",subscription="{subscription}"})`, target: "msgBacklogThreshold", byDefault: "10"},
		{types: []string{"ibmmq"}, asks: "IBM MQ", exporter: "mq-container's metrics"},
		{types: []string{"nsq"}, asks: "NSQ", exporter: "nsq_exporter"},
		{types: []string{"beanstalkd"}, asks: "beanstalkd", exporter: "beanstalkd_exporter"},
		{types: []string{"solace-event-queue", "solace-direct-messaging", "liiklus"}, asks: "the broker"},
		{types: []string{"etcd"}, asks: "etcd"},
		{types: []string{"postgresql", "mysql", "mssql", "mongodb", "cassandra", "couchdb", "arangodb"}, asks: "the database", exporter: sql},
		{types: []string{"aws-sqs-queue"}, asks: "AWS", exporter: cloudwatch,
			query: `sum(aws_sqs_approximate_number_of_messages_visible_average{queue_name="NAME"})`, target: "queueLength", byDefault: "5",
			note: "CloudWatch's numbers are minutes old"},
		{types: []string{"aws-cloudwatch", "aws-kinesis-stream", "aws-dynamodb", "aws-dynamodb-streams"}, asks: "AWS", exporter: cloudwatch, note: "CloudWatch's numbers are minutes old"},
		{types: []string{"azure-app-insights", "azure-blob", "azure-data-explorer", "azure-eventhub", "azure-log-analytics", "azure-monitor", "azure-pipelines", "azure-queue", "azure-servicebus"}, asks: "Azure", exporter: azure},
		{types: []string{"gcp-cloudtasks", "gcp-pubsub", "gcp-stackdriver", "gcp-storage"}, asks: "Google Cloud", exporter: google},
		{types: []string{"openstack-metric", "openstack-swift", "huawei-cloudeye"}, asks: "the cloud"},
		{types: []string{"datadog", "dynatrace", "new-relic", "splunk", "splunk-observability", "sumologic", "predictkube"}, asks: "another monitoring service"},
		{types: []string{"graphite", "influxdb", "loki", "elasticsearch", "opensearch", "solr"}, asks: "another store", exporter: "an exporter of it, with your query,"},
		{types: []string{"github-runner", "forgejo-runner", "selenium-grid", "temporal"}, asks: "the service for its queue"},
	}
}

// rowOf finds the row of a type; nil for an unknown one.
func rowOf(typ string) *triggerRow {
	rows := triggers()
	for i := range rows {
		if slices.Contains(rows[i].types, typ) {
			return &rows[i]
		}
	}
	return nil
}

// metadataName is a place for metadata in a row's text.
var metadataName = regexp.MustCompile(`\{[A-Za-z]+\}`)

// fill puts metadata into a row's text. What a trigger does not say stays a
// name in capitals. Values go between quotes, escaped.
func fill(text string, metadata map[string]string) string {
	return metadataName.ReplaceAllStringFunc(text, func(m string) string {
		v := metadata[m[1:len(m)-1]]
		if v == "" {
			return strings.ToUpper(m[1 : len(m)-1])
		}
		quoted := strconv.Quote(v)
		return quoted[1 : len(quoted)-1]
	})
}

// instead says how the same number can be had without KEDA; "" when it cannot.
func (row *triggerRow) instead(metadata map[string]string) string {
	if row.exporter == "" {
		return ""
	}
	out := "scrape " + fill(row.exporter, metadata)
	if row.query == "" {
		return out + " and ask for its metric"
	}
	target := metadata[row.target]
	if target == "" {
		target = row.byDefault
	}
	return out + " and ask for " + fill(row.query, metadata) + ", target " + target
}
