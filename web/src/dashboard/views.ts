// The views of this chunk, loaded when one of them is opened first.

import "./dashboard.css";
import type { ViewMaker } from "../view.ts";
import { DashboardView } from "./dashboard.ts";
import { ListView } from "./list.ts";

export const list: ViewMaker = (ctx) => new ListView(ctx);
export const dashboard: ViewMaker = (ctx) => new DashboardView(ctx);
