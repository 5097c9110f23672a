import { loading } from "./parts.js";

export const view = () => loading("task");
