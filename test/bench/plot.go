package main

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"time"
)

// plot shows the samples of each contender as a row of dots, with a mark at the median.
type plot struct {
	title string
	rows  []plotRow
}

type plotRow struct {
	name string
	samples
}

// The layout, in pixels.
const (
	plotLeft, plotWidth = 190, 760
	plotTop, rowHeight  = 40, 26
)

// svg draws the plot. The axis ends at the largest 99th percentile, so that one outlier does not squeeze all rows.
func (p *plot) svg() []byte {
	var longest time.Duration
	for _, r := range p.rows {
		longest = max(longest, r.quantile(0.99))
	}
	longest = max(longest, time.Millisecond)
	x := func(d time.Duration) float64 { return plotLeft + plotWidth*min(float64(d)/float64(longest), 1.02) }
	bottom := float64(plotTop + rowHeight*len(p.rows))
	var b bytes.Buffer
	fmt.Fprintf(&b, "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%.0f\" font-family=\"sans-serif\" font-size=\"12\">\n", plotLeft+plotWidth+50, bottom+40)
	b.WriteString("<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n")
	write(&b, plotLeft, 20, "start", p.title)
	for i, r := range p.rows {
		y := float64(plotTop + rowHeight*i + rowHeight/2)
		write(&b, plotLeft-10, y+4, "end", r.name)
		for _, d := range r.samples {
			fmt.Fprintf(&b, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3\" fill=\"#4060c0\" fill-opacity=\"0.25\"/>\n", x(d), y)
		}
		m := r.median()
		fmt.Fprintf(&b, "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" stroke=\"#d02020\" stroke-width=\"2\"/>\n", x(m), y-9, x(m), y+9)
	}
	fmt.Fprintf(&b, "<line x1=\"%d\" y1=\"%.1f\" x2=\"%d\" y2=\"%.1f\" stroke=\"black\"/>\n", plotLeft, bottom, plotLeft+plotWidth, bottom)
	const steps = 8
	for i := range steps + 1 {
		at := longest * time.Duration(i) / steps
		fmt.Fprintf(&b, "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" stroke=\"black\"/>\n", x(at), bottom, x(at), bottom+5)
		write(&b, x(at), bottom+20, "middle", millis(at)+" ms")
	}
	b.WriteString("</svg>\n")
	return b.Bytes()
}

// write writes a text; anchor is start, middle or end.
func write(b *bytes.Buffer, x, y float64, anchor, text string) {
	fmt.Fprintf(b, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\">", x, y, anchor)
	_ = xml.EscapeText(b, []byte(text)) // a buffer takes everything
	b.WriteString("</text>\n")
}
