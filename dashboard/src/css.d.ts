// Style sheets are bundled; as modules they are empty.
declare module "*.css";
