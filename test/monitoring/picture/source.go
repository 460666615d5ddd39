package main

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"sort"
	"strconv"
	"strings"
	"time"
)

// points is the number of values of a series over the range.
const points = 150

// source is a Prometheus and the time range that is drawn.
type source struct {
	url   string
	end   time.Time
	since time.Duration
}

// series is one result, with its values by time. NaN is no value.
type series struct {
	labels map[string]string
	values []float64
}

// last is the latest value; NaN if there is none.
func (s *series) last() float64 { return s.values[len(s.values)-1] }

// query returns the results of an expression over the range, with at least one value, sorted by labels.
func (s *source) query(expr string) ([]series, error) {
	step := s.since / points
	expr = strings.NewReplacer("$__rate_interval", "1m", "$__range", fmt.Sprintf("%ds", int(s.since.Seconds())), "$node", ".*").Replace(expr)
	start := s.end.Add(-s.since)
	parameters := url.Values{
		"query": {expr}, "step": {strconv.FormatFloat(step.Seconds(), 'f', -1, 64)},
		"start": {unix(start)}, "end": {unix(s.end)},
	}
	res, err := http.Get(s.url + "/api/v1/query_range?" + parameters.Encode())
	if err != nil {
		return nil, err
	}
	defer res.Body.Close() //nolint:errcheck // it was only read
	var response struct {
		Error string
		Data  struct {
			Result []struct {
				Metric map[string]string
				Values [][2]any
			}
		}
	}
	if err := json.NewDecoder(res.Body).Decode(&response); err != nil {
		return nil, fmt.Errorf("%s: %s: %w", expr, res.Status, err)
	}
	if response.Error != "" {
		return nil, fmt.Errorf("%s: %s", expr, response.Error)
	}
	var all []series
	for _, r := range response.Data.Result {
		one := series{labels: r.Metric, values: make([]float64, points+1)}
		for i := range one.values {
			one.values[i] = math.NaN()
		}
		for _, v := range r.Values {
			at, _ := v[0].(float64)
			text, _ := v[1].(string)
			value, err := strconv.ParseFloat(text, 64)
			if i := int(math.Round((at - float64(start.UnixMilli())/1000) / step.Seconds())); err == nil && i >= 0 && i <= points {
				one.values[i] = value
			}
		}
		all = append(all, one)
	}
	sort.Slice(all, func(i, j int) bool { return fmt.Sprint(all[i].labels) < fmt.Sprint(all[j].labels) })
	return all, nil
}

func unix(t time.Time) string { return strconv.FormatFloat(float64(t.UnixMilli())/1000, 'f', 3, 64) }
