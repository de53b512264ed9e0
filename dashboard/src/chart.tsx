// Graphs over time and over ranks. The figures are also in the heading, and screen readers read the newest ones.
import { useEffect, useRef } from "preact/hooks";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { isDark, useWatched } from "./session";

export interface Series { name: string; color: `--${string}`; fill?: boolean; points?: boolean; unit: (value: number) => string }

export interface ChartProps {
  label: string;
  /** First the horizontal values, then those of each series. */
  data: (number | null)[][];
  series: Series[];
  height?: number;
  /** Whether the horizontal axis is time, in seconds. */
  over: "time" | "numbers";
  /** Fewest seconds shown, so that a new graph does not move fast. */
  span?: number;
  /** The horizontal value as people read it. */
  at: (value: number) => string;
  bars?: boolean;
}

const css = (name: string): string => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const faded = (color: string): string => `color-mix(in srgb, ${color} 14%, transparent)`;

export function Chart({ label, data, series, height = 150, over, span, at, bars }: ChartProps) {
  const box = useRef<HTMLDivElement>(null);
  const tip = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const latest = useRef({ at, series });
  latest.current = { at, series };
  const dark = useWatched(isDark);
  const shape = series.map((one) => one.name + one.color).join();

  useEffect(() => {
    const parent = box.current;
    if (!parent) return;
    const line = css("--line"), muted = css("--muted");
    const font = `11px ${getComputedStyle(document.body).fontFamily}`;
    const axis = { stroke: muted, font, grid: { stroke: line, width: 1 }, ticks: { show: false } };
    const made = new uPlot({
      width: parent.clientWidth || 300, height,
      padding: [8, 14, 0, 0],
      legend: { show: false },
      cursor: { y: false, points: { size: 6 }, drag: { x: false, y: false } },
      scales: {
        x: over === "time"
          ? { time: true, range: (_, min, max) => [span ? Math.min(min, max - span) : min, max] }
          : { time: false, ...(bars ? { range: (_: uPlot, min: number, max: number) => [min - 0.6, max + 0.6] as [number, number] } : {}) },
        y: { range: (_, min, max) => [Math.min(0, min), Math.max(max * 1.12, 1)] },
      },
      axes: [
        { ...axis, space: 70, size: 26, grid: { show: false }, values: (_, ticks) => ticks.map((tick) => latest.current.at(tick)) },
        { ...axis, size: 46, space: 32, values: (_, ticks) => ticks.map((tick) => latest.current.series[0]?.unit(tick).replace(/ (ms|s)$/, "") ?? "") },
      ],
      series: [{}, ...series.map((one): uPlot.Series => {
        const color = css(one.color);
        const paths = bars ? uPlot.paths.bars?.({ size: [0.7, 40] }) : undefined;
        return {
          label: one.name, stroke: one.points ? "transparent" : color, width: bars ? 0 : 1.5, spanGaps: false,
          ...(one.fill || bars ? { fill: bars ? color : faded(color) } : {}),
          points: one.points ? { show: true, size: 5, width: 0, fill: color, stroke: color } : { show: false },
          ...(paths ? { paths } : {}),
        };
      })],
      hooks: { setCursor: [(self) => point(self)] },
    }, [[], ...series.map(() => [])] as uPlot.AlignedData, parent);
    plot.current = made;

    /** Describes the point under the pointer. */
    function point(self: uPlot) {
      const element = tip.current;
      const index = self.cursor.idx;
      if (!element) return;
      if (index === null || index === undefined || (self.cursor.left ?? -1) < 0) { element.hidden = true; return; }
      const x = self.data[0][index];
      const values = latest.current.series.map((one, number) => {
        const value = self.data[number + 1]?.[index];
        return value === null || value === undefined ? null : `${one.name} ${one.unit(value)}`;
      });
      element.textContent = [x === undefined ? "" : latest.current.at(x), ...values.filter(Boolean)].join(" · ");
      element.hidden = false;
    }

    const sized = new ResizeObserver(() => made.setSize({ width: parent.clientWidth, height }));
    sized.observe(parent);
    return () => { sized.disconnect(); made.destroy(); plot.current = null; };
  }, [dark, shape, height, over, span, bars]);

  useEffect(() => { plot.current?.setData(data as uPlot.AlignedData); }, [data, dark, shape, height, over, span, bars]);

  return (
    <div class="chart">
      <div ref={box} role="img" aria-label={label} style={{ height: `${height}px` }} />
      <div ref={tip} class="tip" hidden aria-hidden="true" />
    </div>
  );
}

/** The legend, with the newest figures. */
export function Legend({ items }: { items: { name: string; color: `--${string}`; value: string }[] }) {
  return (
    <ul class="legend">
      {items.map((item) => (
        <li key={item.name}><i style={{ background: `var(${item.color})` }} aria-hidden="true" />{item.name} <b>{item.value}</b></li>
      ))}
    </ul>
  );
}
