package heal

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"time"
)

// Timeline is what happened around one fault. All times count from the fault.
type Timeline struct {
	// Returned is when the fault's cause was undone, End when everything was as before.
	Fault, Return string
	Returned, End time.Duration
	// Pings are those sent, in order; Kernel are link events of all netns; Agent are lines of the agent's log.
	Pings  []Ping
	Kernel []time.Duration
	Agent  []Moment
}

// Ping is one ping. That of a lost one is estimated from its neighbours.
type Ping struct {
	At   time.Duration
	Lost bool
}

// Moment is an event with a description.
type Moment struct {
	At   time.Duration
	Text string
}

// The layout of the picture, in pixels.
const (
	plotLeft, plotWidth = 90, 880
	laneTop, rowHeight  = 60, 22
	margin              = 300 * time.Millisecond // shown before the fault and after the end
)

// drawing collects SVG elements.
type drawing struct {
	bytes.Buffer
	from, length time.Duration
}

func (d *drawing) x(at time.Duration) float64 {
	return plotLeft + plotWidth*float64(at-d.from)/float64(d.length)
}

func (d *drawing) line(x1, y1, x2, y2 float64, style string) {
	fmt.Fprintf(d, "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" %s/>\n", x1, y1, x2, y2, style)
}

func (d *drawing) dot(x, y float64, color string) {
	fmt.Fprintf(d, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"4\" fill=\"%s\"/>\n", x, y, color)
}

// text writes a text at x; anchor is start, middle or end.
func (d *drawing) text(x, y float64, anchor, text string) {
	fmt.Fprintf(d, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\">", x, y, anchor)
	_ = xml.EscapeText(d, []byte(text)) // a buffer takes everything
	d.WriteString("</text>\n")
}

// WriteSVG draws the timeline: pings and kernel events in a lane each, then a row per line of the agent's log.
func (t *Timeline) WriteSVG(w io.Writer) error {
	d := &drawing{from: -margin, length: t.End + 2*margin}
	bottom := float64(laneTop + rowHeight*(len(t.Agent)+3))
	fmt.Fprintf(d, "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%.0f\" font-family=\"sans-serif\" font-size=\"12\">\n", plotLeft+plotWidth+20, bottom+40)
	d.WriteString("<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n")
	d.axis(bottom)
	for i, m := range []Moment{{0, t.Fault}, {t.Returned, t.Return}, {t.End, "everything as before"}} {
		d.line(d.x(m.At), 30, d.x(m.At), bottom, "stroke=\"#888\" stroke-dasharray=\"4 3\"")
		d.text(d.x(m.At)+[]float64{4, 4, -4}[i], []float64{26, 42, 26}[i], []string{"start", "start", "end"}[i], m.Text)
	}
	row := func(i int) float64 { return float64(laneTop + rowHeight*i + rowHeight/2) }
	d.text(8, row(0)+4, "start", "pings")
	for _, p := range t.Pings {
		style := "stroke=\"#2a8a4a\""
		if p.Lost {
			style = "stroke=\"#d02020\" stroke-width=\"3\""
		}
		d.line(d.x(p.At), row(0)-8, d.x(p.At), row(0)+8, style)
	}
	d.text(8, row(1)+4, "start", "kernel")
	for _, at := range t.Kernel {
		d.line(d.x(at), row(1)-6, d.x(at), row(1)+6, "stroke=\"#4060c0\"")
	}
	d.text(8, row(2)+4, "start", "agent")
	for i, m := range t.Agent {
		x, y := d.x(m.At), row(i+2)
		d.dot(x, y, "#e08000")
		text := fmt.Sprintf("%.2f s  %s", m.At.Seconds(), m.Text)
		if x > plotLeft+plotWidth/2 {
			d.text(x-8, y+4, "end", text)
		} else {
			d.text(x+8, y+4, "start", text)
		}
	}
	d.WriteString("</svg>\n")
	_, err := w.Write(d.Bytes())
	return err
}

// axis draws a scale with some ten steps.
func (d *drawing) axis(y float64) {
	d.line(plotLeft, y, plotLeft+plotWidth, y, "stroke=\"black\"")
	step := 100 * time.Millisecond
	for d.length/step > 12 {
		step *= 2
	}
	for at := time.Duration(0); at < d.from+d.length; at += step {
		d.line(d.x(at), y, d.x(at), y+5, "stroke=\"black\"")
		d.text(d.x(at), y+20, "middle", fmt.Sprintf("%.1f s", at.Seconds()))
	}
}
